/** Secrets of all kinds, and everything that an upstream may make of one, from a seed. It shares nothing with the scrubber. */

/** Mulberry32: small, fast, and the same everywhere. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/** `binary` is no text; what has only digits of `hexadecimal` means the same in either case. */
export const kinds = ['token', 'hexadecimal', 'unicode', 'awkward', 'binary'] as const;
type Kind = (typeof kinds)[number];

const alphabets: Record<Exclude<Kind, 'binary'>, readonly string[]> = {
  token: [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-'],
  hexadecimal: [...'0123456789abcdef'],
  unicode: [...'aé\u{1f511}ñ漢字ü~'],
  awkward: [...'ab \t\n\r"\\/%&+\'<>\u0001\u007f'],
};

export interface Planted {
  readonly kind: Kind;
  readonly value: Buffer;
  /** Of `binary`, nothing. */
  readonly text: string;
}

/** What is in a message, as it stands between the quotes of a JSON string, and what has to become of it. */
export interface Case {
  readonly form: string;
  readonly text: string;
  readonly expected: string;
}

const hexPairs = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));
const upperPairs = hexPairs.map((pair) => pair.toUpperCase());
const code = (unit: number): string => unit.toString(16).padStart(4, '0');
/** As few escapes as JSON allows. */
const json = (text: string): string => JSON.stringify(text).slice(1, -1);
const jsonUnits = Array.from({ length: 0x80 }, (_, unit) => json(String.fromCharCode(unit)));
const isAlphanumeric = Array.from({ length: 256 }, (_, byte) =>
  /[A-Za-z0-9]/.test(String.fromCharCode(byte)),
);
const named: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

interface Form {
  readonly name: string;
  readonly fits: (secret: Planted) => boolean;
  /** Without `mark` and what surrounds it, both are the same. */
  readonly spell: (secret: Planted, mark: string) => Omit<Case, 'form'>;
}

const anything = (): boolean => true;
const isText = ({ kind }: Planted): boolean => kind !== 'binary';

export class Spellings {
  readonly random: (below: number) => number;
  readonly #forms: readonly Form[];

  constructor(seed: number) {
    this.random = generator(seed);
    const whole =
      (spell: (secret: Planted) => string): Form['spell'] =>
      (secret, mark) => ({ text: this.#escape(spell(secret)), expected: mark });
    const text = (name: string, spell: (text: string) => string): Form => ({
      name,
      fits: isText,
      spell: whole((secret) => spell(secret.text)),
    });
    const inBase64 = (name: string, fits: Form['fits'], bytes: (secret: Planted) => Buffer): Form => ({
      name,
      fits,
      spell: (secret, mark) => this.#base64(bytes(secret), mark),
    });
    this.#forms = [
      inBase64('base64', anything, ({ value }) => value),
      { name: 'hexadecimal', fits: anything, spell: whole(({ value }) => this.#hex(value)) },
      {
        name: 'decimal',
        fits: anything,
        spell: whole(({ value }) => value.join(this.pick([',', ', ']))),
      },
      text('plain', (plain) => plain),
      text('JSON', json),
      text('JSON in JSON', (plain) => json(json(plain))),
      text('percent', (plain) => this.#percent(plain)),
      text('percent, of JSON', (plain) => this.#percent(json(plain))),
      text('JSON, of percent', (plain) => json(this.#percent(plain))),
      text('entities', (plain) => this.#entities(plain)),
      {
        name: 'line breaks',
        // Which of two line breaks is the secret's own cannot be told.
        fits: ({ kind, text }) => kind !== 'binary' && !/\s/.test(text),
        spell: whole((secret) => this.#broken(secret.text)),
      },
      {
        name: 'case',
        fits: ({ kind }) => kind === 'hexadecimal',
        spell: whole(({ text }) => this.#cases(text)),
      },
      inBase64('base64 of UTF-16', isText, (secret) => Buffer.from(secret.text, 'utf16le')),
      inBase64('base64 of JSON', isText, (secret) => Buffer.from(json(secret.text))),
      inBase64('base64 of percent', isText, (secret) => Buffer.from(encodeURIComponent(secret.text))),
    ];
  }

  get names(): string[] {
    return this.#forms.map(({ name }) => name);
  }

  pick<T>(items: readonly T[]): T {
    return items[this.random(items.length)] as T;
  }

  /** Most are as short as passwords, some as long as tokens. */
  length(): number {
    return 6 + this.random(this.random(16) === 0 ? 80 : 8);
  }

  /**
   * @param index tells it from the others of a batch, and by default of which kind it is
   * @param length in characters, of what is random in it
   */
  secret(index: number, length = this.length(), kind = kinds[index % kinds.length] as Kind): Planted {
    if (kind === 'binary') {
      // The first byte is never one of text.
      const value = Buffer.from([0xff, index, ...Array.from({ length }, () => this.random(256))]);
      return { kind, value, text: '' };
    }
    const inner = Array.from({ length }, () => this.pick(alphabets[kind])).join('');
    // Letters in front and behind: neither trimmed nor equal to another secret.
    const text = kind === 'hexadecimal' ? `${hexPairs[index]}${inner}` : `S${index.toString(36)}c${inner}z`;
    return { kind, value: Buffer.from(text), text };
  }

  /** With one character that is another; `null` where a line of its own would still be the secret's. */
  almost({ kind, value, text }: Planted): Planted | null {
    if (kind === 'binary') {
      const other = Buffer.from(value);
      const at = 2 + this.random(value.length - 4);
      other[at] = (other[at] as number) ^ 0x11;
      return { kind, value: other, text };
    }
    if (/[\r\n]/.test(text)) return null;
    const characters = [...text];
    const at = 3 + this.random(characters.length - 5);
    const others = kind === 'hexadecimal' ? ['0', '1'] : ['Q', 'K'];
    characters[at] = others[characters[at] === others[0] ? 1 : 0] as string;
    const other = characters.join('');
    return { kind, value: Buffer.from(other), text: other };
  }

  /** The secret in one of its forms, which has to become `mark`; or what is almost the secret, which has to stay. */
  case(secret: Planted, mark: string): Case {
    const other = this.random(3) === 0 ? this.almost(secret) : null;
    const planted = other ?? secret;
    let form = this.pick(this.#forms);
    while (!form.fits(planted)) form = this.pick(this.#forms);
    const { text, expected } = form.spell(planted, mark);
    return other === null
      ? { form: form.name, text, expected }
      : { form: `no secret in ${form.name}`, text, expected: text };
  }

  /** The secret in each of its forms. */
  everyForm(secret: Planted, mark: string): Case[] {
    return this.#forms
      .filter(({ fits }) => fits(secret))
      .map((form) => ({ form: form.name, ...form.spell(secret, mark) }));
  }

  /** Each code unit as it is or escaped, at random: mostly few of them. */
  #escape(text: string): string {
    const often = this.pick([0, 0, 0, 0, 0, 0, 0, 24, 24, 24, 4, 1]);
    if (often === 0) return json(text);
    let escaped = '';
    for (let at = 0; at < text.length; at++) {
      const unit = text.charCodeAt(at);
      if (this.random(often) === 0)
        escaped += `\\u${this.random(2) === 0 ? code(unit) : code(unit).toUpperCase()}`;
      else if (unit >= 0xd800 && unit <= 0xdfff) escaped += `\\u${code(unit)}`;
      else escaped += jsonUnits[unit] ?? text.charAt(at);
    }
    return escaped;
  }

  #base64(value: Buffer, mark: string): Omit<Case, 'form'> {
    const shift = this.random(3);
    const before = Buffer.from([0, 0].map(() => this.random(256))).subarray(0, shift);
    const after = Buffer.from([0, 0, 0].map(() => this.random(256))).subarray(0, this.random(4));
    const text = Buffer.concat([before, value, after]).toString(this.pick(['base64', 'base64url']));
    // All characters that hold some bit of the secret.
    const first = Math.floor((8 * shift) / 6);
    const end = Math.ceil((8 * (shift + value.length)) / 6);
    let inner = text.slice(first + 2, end - 2);
    const width = this.pick([0, 0, 0, 17]);
    if (width > 0) inner = inner.replace(/.{17}/g, this.pick(['$&\r\n', '$&\n  ']));
    const core = text.slice(first, first + 2) + this.#escape(inner) + text.slice(end - 2, end);
    return {
      text: text.slice(0, first) + core + text.slice(end),
      expected: text.slice(0, first) + mark + text.slice(end),
    };
  }

  #hex(value: Buffer): string {
    const separator = this.pick(['', '', '', '', '', '', ':', ' ', '-', ', 0x', ',0x', '\n']);
    const lower = this.random(3);
    let text = '';
    for (const [index, byte] of value.entries()) {
      const pairs = (lower === 2 ? this.random(2) : lower) === 0 ? hexPairs : upperPairs;
      text += (index === 0 ? '' : separator) + pairs[byte];
    }
    return text;
  }

  #percent(text: string): string {
    let percent = '';
    for (const byte of Buffer.from(text))
      percent +=
        isAlphanumeric[byte] === true && this.random(6) > 0
          ? String.fromCharCode(byte)
          : `%${this.pick([hexPairs, upperPairs])[byte]}`;
    return percent;
  }

  #entities(text: string): string {
    let entities = '';
    for (const character of text) {
      const point = character.codePointAt(0) as number;
      if (named[character] !== undefined) entities += named[character];
      else if (point < 0x20 || this.random(6) === 0)
        entities += `&#${this.random(2) === 0 ? point : `x${point.toString(16)}`};`;
      else entities += character;
    }
    return entities;
  }

  #broken(text: string): string {
    const between = this.pick(['\n', '\r\n', '\n    ', '\r\n\t']);
    const often = this.pick([1, 4, 12]);
    let broken = '';
    for (const character of text)
      broken += (broken !== '' && this.random(often) === 0 ? between : '') + character;
    return broken;
  }

  #cases(text: string): string {
    let mixed = '';
    for (const character of text) mixed += this.random(2) === 0 ? character : character.toUpperCase();
    return mixed;
  }
}
