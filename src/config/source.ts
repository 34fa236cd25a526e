/**
 * YAML text → plain value, remembering where each part of it stood. The only file that knows `yaml`.
 *
 * YAML is taken without the features by which a small file means something large or something else than it shows:
 * anchors, aliases and merge keys (the billion laughs), tags, directives (`%YAML 1.1` turns `no` into false), several
 * documents, duplicate keys, keys that are no text.
 */
import { Composer, type CST, isMap, isNode, isScalar, isSeq, LineCounter, Parser } from 'yaml';
import type { Place } from '../errors.ts';
import type { Problem } from './problem.ts';

/** Our deepest value, a glob of a rule, is at depth 6. Beyond a few thousand the composer exhausts stack and heap. */
const DEPTH = 16;

/** JSON Pointer (RFC 6901) of a value, as ajv gives it. */
export type Pointer = string;

export function pointerTo(parent: Pointer, key: string | number): Pointer {
  return `${parent}/${String(key).replaceAll('~', '~0').replaceAll('/', '~1')}`;
}

interface Spot {
  /** Offset of the key; of the value where there is none (list items, the document). */
  readonly key: number;
  /** Offset of the value; of the key where the value is empty. */
  readonly value: number;
  /** `upstreams.notion.args[0]`, with `…` for a key that may be a pasted secret. */
  readonly label: string;
}

export interface Source {
  /** Maps have no prototype, so that no key (`__proto__`, `constructor`) means anything special. */
  readonly value: unknown;
  /** Whether `value` says what the text says. Duplicate keys are a problem that leaves it readable. */
  readonly readable: boolean;
  readonly problems: readonly Problem[];
  /** The place of a value or of its key; `child` names a key that is missing there. */
  place(pointer: Pointer, at: 'key' | 'value', child?: string): Place;
}

type Token = CST.Token | CST.SourceToken;

const FORBIDDEN: Partial<Record<Token['type'], string>> = {
  anchor: 'expected no anchors, got one; write the value out each time',
  alias: 'expected no aliases, got one; write the value out each time',
  tag: 'expected no tags, got one',
  directive: 'expected no YAML directives, got one',
};

/** yaml's own messages quote the text, which may be a secret; these are said instead. */
const MEANING: Readonly<Record<string, string>> = {
  BAD_DQ_ESCAPE: 'expected a valid escape sequence in the quoted text, got another',
  BAD_INDENT: 'expected the indentation of the lines around it, got another',
  BAD_SCALAR_START: 'expected text that begins with " or another character, got @, ` or %; put it in quotes',
  BLOCK_AS_IMPLICIT_KEY:
    'expected one key on a line, got a second colon; put text that has ": " in it in quotes',
  BLOCK_IN_FLOW: 'expected the closing bracket, got an indented block',
  DUPLICATE_KEY: 'expected each key once, got one again',
  MISSING_CHAR: 'expected another character, such as a colon, a comma or a closing quote, got none',
  MULTILINE_IMPLICIT_KEY: 'expected "key: value" on one line, got a key without a colon',
  MULTIPLE_DOCS: 'expected one document, got another',
  NON_STRING_KEY: 'expected text as a key, got a list or map',
  TAB_AS_INDENT: 'expected spaces as indentation, got a tab',
};

/** The tokens right below `token`. */
function below(token: Token): Token[] {
  const lists: (Token | null | undefined)[] = [];
  if ('start' in token) lists.push(...[token.start].flat());
  if ('value' in token) lists.push(token.value);
  if ('props' in token) lists.push(...token.props);
  if ('items' in token)
    for (const item of token.items) lists.push(...item.start, item.key, ...(item.sep ?? []), item.value);
  if ('end' in token) lists.push(...(token.end ?? []));
  return lists.filter((each) => each !== null && each !== undefined);
}

/**
 * Judges the tokens before anything is composed of them; walks with a stack of its own, so depth costs nothing.
 * @returns whether it is safe to compose them
 */
function inspect(tokens: readonly Token[], report: (offset: number, message: string) => void): boolean {
  const stack = tokens.map((token) => ({ token, depth: 0 })).reverse();
  let documents = 0;
  for (let entry = stack.pop(); entry !== undefined; entry = stack.pop()) {
    const { token, depth } = entry;
    const forbidden = FORBIDDEN[token.type];
    if (forbidden !== undefined) report(token.offset, forbidden);
    if (token.type === 'document' && ++documents > 1) {
      report(token.offset, 'expected one document, got another');
      continue;
    }
    if (depth > DEPTH) {
      report(token.offset, `expected at most ${DEPTH} levels of nesting, got more`);
      return false;
    }
    for (const each of below(token).reverse()) stack.push({ token: each, depth: depth + 1 });
  }
  return true;
}

/**
 * May a key be shown in an error? A key without a value, `{TOKEN: vault:x, ghp_…}`, can be a secret that slipped out of
 * its place, and so can everything that lies deeper under `env`, `secrets`, `files`, `fds` and `headers` than the name
 * of a variable, but for the keys of a template.
 */
function isShown(key: string, empty: boolean, parents: readonly string[]): boolean {
  if (!/^[A-Za-z0-9_.-]{1,64}$/.test(key)) return false;
  // The second name is the user's own: an upstream may be called `env`.
  const literals = parents.findIndex(
    (each, index) => index !== 1 && ['env', 'secrets', 'files', 'fds', 'headers'].includes(each),
  );
  if (literals < 0) return !empty || /^[a-z_-]{1,16}$/.test(key);
  const own = parents[literals] === 'secrets' && ['from', 'template'].includes(key);
  return (literals === parents.length - 1 && !empty) || (literals === parents.length - 2 && own);
}

function labelOf(parent: string, key: string | number, shown: boolean): string {
  if (typeof key === 'number') return `${parent}[${key}]`;
  const name = !shown ? '…' : key.includes('.') ? JSON.stringify(key) : key;
  return parent === '' ? name : `${parent}.${name}`;
}

/** Reads `text`; `file` is for the places of problems. Never throws for what the text says. */
export function readSource(text: string, file: string): Source {
  const lines = new LineCounter();
  const spots = new Map<Pointer, Spot>();
  const problems: Problem[] = [];

  const placeOf = (offset: number, label?: string): Place => {
    const { line, col } = lines.linePos(offset);
    return { file, line, column: col, ...(label !== undefined && { key: label }) };
  };
  const report = (offset: number, message: string, label?: string): void => {
    problems.push({ place: placeOf(offset, label), message });
  };

  const convert = (node: unknown, pointer: Pointer, spot: Spot, parents: readonly string[]): unknown => {
    spots.set(pointer, spot);
    if (isScalar(node)) return node.value;
    if (isSeq<unknown>(node))
      return node.items.map((item, index) => {
        const offset = offsetOf(item) ?? spot.value;
        const label = labelOf(spot.label, index, true);
        return convert(item, pointerTo(pointer, index), { key: offset, value: offset, label }, parents);
      });
    if (!isMap<unknown, unknown>(node)) return null;
    const map: Record<string, unknown> = Object.create(null);
    for (const pair of node.items) {
      const key = isScalar(pair.key) ? String(pair.key.value ?? '') : '';
      const keyOffset = offsetOf(pair.key) ?? spot.value;
      const empty = !isScalar(pair.value) ? pair.value === null : pair.value.value === null;
      const label = labelOf(spot.label, key, isShown(key, empty, parents));
      const known = spots.get(pointerTo(pointer, key));
      if (known !== undefined) {
        const first = lines.linePos(known.key).line;
        report(keyOffset, `expected each key once, got it again after line ${first}`, label);
        continue;
      }
      const value = empty ? keyOffset : (offsetOf(pair.value) ?? keyOffset);
      map[key] = convert(pair.value, pointerTo(pointer, key), { key: keyOffset, value, label }, [
        ...parents,
        key,
      ]);
    }
    return map;
  };

  const place: Source['place'] = (pointer, at, child) => {
    const spot = spots.get(pointer) ?? { key: 0, value: 0, label: '' };
    return placeOf(spot[at], child === undefined ? spot.label : labelOf(spot.label, child, true));
  };

  const tokens = [...new Parser(lines.addNewLine).parse(text)];
  if (!inspect(tokens, report)) return { value: null, readable: false, problems, place };
  const composer = new Composer({ version: '1.2', schema: 'core', stringKeys: true, uniqueKeys: false });
  const [document] = composer.compose(tokens, true, text.length);
  for (const error of document?.errors ?? [])
    report(error.pos[0], MEANING[error.code] ?? 'expected YAML, got a character that does not fit here');
  if (document === undefined || problems.length > 0) return { value: null, readable: false, problems, place };
  const root: Spot = { key: 0, value: offsetOf(document.contents) ?? 0, label: '' };
  return { value: convert(document.contents, '', root, []), readable: true, problems, place };
}

function offsetOf(node: unknown): number | undefined {
  return isNode(node) ? node.range?.[0] : undefined;
}
