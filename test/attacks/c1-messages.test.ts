/** C1: what two parsers could read in two ways is refused; everything else arrives as it was written. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { HttpClient, handshake, LineClient, type Message, TIMEOUT_MS, textOf } from '../support/client.ts';
import { bearer, portOf, sharedDaemon, socketOf } from '../support/daemon.ts';
import { fixtureServer } from '../support/servers.ts';
import { refusalIn } from './support.ts';

/** Sends one message as these bytes and gives what came back to it. */
type Send = (bytes: string | Buffer) => Promise<Message>;

/** A message that was forwarded by mistake may never be answered. */
function within<T>(answer: Promise<T>): Promise<T> {
  const late = new Promise<never>((_resolve, reject) => {
    setTimeout(() => reject(new Error('no answer')), TIMEOUT_MS).unref();
  });
  return Promise.race([answer, late]);
}

const call = (id: string, args: string, rest = ''): string =>
  `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"received","arguments":${args}${rest}}}`;

const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
const nestedObjects = (depth: number): string => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`;

const bytes = (...parts: (string | number[])[]): Buffer =>
  Buffer.concat(parts.map((part) => Buffer.from(part as string)));

const refused: Readonly<Record<string, string | Buffer>> = {
  'an empty batch': '[]',
  'a batch of one': `[${call('1', '{}')}]`,
  'a batch of two': `[${call('1', '{}')},${call('2', '{}')}]`,
  'two messages in one': `${call('1', '{}')} ${call('2', '{}')}`,
  'a number': '7',
  null: 'null',
  'a string': '"tools/call"',
  'no JSON': 'tools/call',
  'JSON that breaks off': call('1', '{}').slice(0, -1),
  'JSON with more behind it': `${call('1', '{}')}}`,
  'JSON5: a comment': call('1', '{/**/}'),
  'JSON5: a trailing comma': call('1', '{"a":1,}'),
  'JSON5: single quotes': call('1', "{'a':1}"),
  NaN: call('1', '{"a":NaN}'),
  'a hexadecimal number': call('1', '{"a":0x10}'),
  'a leading zero': call('1', '{"a":01}'),
  'another version': call('1', '{}').replace('2.0', '1.0'),
  'version 2.0 as a number': call('1', '{}').replace('"2.0"', '2.0'),
  'no version': call('1', '{}').replace('"jsonrpc":"2.0",', ''),
  'an id of null': call('null', '{}'),
  'an id that is true': call('true', '{}'),
  'an id that is an object': call('{}', '{}'),
  'an id that is a list': call('[1]', '{}'),
  'an id that is no number any more': call('1e400', '{}'),
  'params that are a list': '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["received"]}',
  'params that are a string': '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":"received"}',
  'a method that is a number': '{"jsonrpc":"2.0","id":1,"method":7}',
  'a request that is a response too': '{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}',
  'a notification that is a request too':
    '{"jsonrpc":"2.0","id":1,"method":"notifications/cancelled","params":{"requestId":9}}',
  'a response with result and error': '{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}',
  'a tool name that is a list':
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":["received"]}}',
  'the key jsonrpc twice': '{"jsonrpc":"2.0","jsonrpc":"2.0","id":1,"method":"ping"}',
  'the key id twice': '{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}',
  'the key method twice': '{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}',
  'the key params twice': call('1', '{}').replace('"params"', '"params":{},"params"'),
  'the key name twice': call('1', '{}', ',"name":"exit"'),
  'the key arguments twice': call('1', '{}', ',"arguments":{"a":1}'),
  'a key twice in the arguments': call('1', '{"a":1,"a":2}'),
  'a key twice far below': call('1', '{"a":[{"b":{"c":[0,{"d":1,"e":2,"d":3}]}}]}'),
  'a key twice, once escaped': call('1', '{"path":1,"\\u0070ath":2}'),
  'a key twice, escaped in two ways': call('1', '{"\\/":1,"\\u002f":2}'),
  'a decisive key twice, once escaped': call('1', '{}', ',"\\u006eame":"exit"'),
  'the key __proto__ twice': call('1', '{"__proto__":1,"__proto__":2}'),
  'Method beside method': '{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}',
  'METHOD instead of method': '{"jsonrpc":"2.0","id":1,"METHOD":"ping"}',
  'Name beside name': call('1', '{}', ',"Name":"exit"'),
  'Arguments beside arguments': call('1', '{}', ',"ARGUMENTS":{"a":1}'),
  'a long s in argumentſ': call('1', '{}', ',"argument\u017f":{"a":1}'),
  'a long s, escaped': call('1', '{}', ',"argument\\u017f":{"a":1}'),
  'Name beside name in the reference of a completion':
    '{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"a","Name":"b"}}}',
  '65 levels': call('1', nested(63)),
  '10,000 levels of lists': call('1', nested(10_000)),
  '10,000 levels of objects': call('1', nestedObjects(10_000)),
  'a million levels': call('1', nested(1_000_000)),
  'a lone continuation byte': bytes(call('1', '{"a":"@"}').split('@')[0] as string, [0x80], '"}}}'),
  'an overlong slash': bytes(call('1', '{"a":"@"}').split('@')[0] as string, [0xc0, 0xaf], '"}}}'),
  'a surrogate in UTF-8': bytes(call('1', '{"a":"@"}').split('@')[0] as string, [0xed, 0xa0, 0x80], '"}}}'),
  'beyond U+10FFFF': bytes(call('1', '{"a":"@"}').split('@')[0] as string, [0xf4, 0x90, 0x80, 0x80], '"}}}'),
  'a cut off character': bytes(call('1', '{"a":"@"}').split('@')[0] as string, [0xe2, 0x82], '"}}}'),
  'Latin-1': Buffer.from(call('1', '{"a":"é"}'), 'latin1'),
  'a byte order mark': `\ufeff${call('1', '{}')}`,
  'UTF-16': Buffer.from(call('1', '{}'), 'utf16le'),
  'a raw NUL in a string': call('1', '{"a":"\0"}'),
  'a raw NUL behind the message': `${call('1', '{}')}\0`,
  'a raw control character in a string': call('1', '{"a":"\x1b"}'),
  'a raw tab in a string': call('1', '{"a":"\t"}'),
  'a no-break space between tokens': call('1', '{\u00a0}'),
};

/** What arrives must be these very bytes. */
const unharmed: Readonly<Record<string, string>> = {
  'an integer beyond 2^53': '{"n":12345678901234567890}',
  'an integer of a hundred digits': `{"n":${'1234567890'.repeat(10)}}`,
  'a float that is an integer': '{"n":1.0,"m":1.50,"e":1E2,"f":1e+2}',
  'beyond a double': '{"n":1e400,"m":-1e400,"tiny":1e-400}',
  'minus zero': '{"n":-0,"m":-0.0}',
  'keys in their order': '{"z":1,"a":2,"10":3,"9":4}',
  'white space': '{ "a" :\t1 ,"b":[ 1 , 2 ] }',
  escapes: '{"a":"\\u0041\\/\\u00e9\\ud83d\\ude00","\\u0062":"\\b\\f\\n\\r\\t"}',
  'an escaped NUL': '{"a":"\\u0000","\\u0000":1}',
  'a lone surrogate': '{"a":"\\ud800","b":"\\udc00x\\ud800"}',
  'text beyond ASCII': '{"a":"é\u2028\u2029😀\u202e","ключ":1}',
  'the key __proto__': '{"__proto__":{"polluted":true}}',
  'the key __proto__, escaped': '{"\\u005f_proto__":{"polluted":true}}',
  'keys of Object.prototype':
    '{"constructor":{"prototype":{"polluted":true}},"toString":1,"hasOwnProperty":null}',
  'an empty key': '{"":{"":{"":1}}}',
  'keys that differ in case below the arguments': '{"Path":1,"path":2,"PATH":3}',
  '60 levels': `{"a":${nested(60)}}`,
  'a key of 100 kB': `{"${'k'.repeat(100_000)}":1}`,
};

describe('C1 messages of a client', () => {
  const daemon = sharedDaemon({ config: { upstreams: { chatty: fixtureServer('chatty') } } });

  async function overHttp(): Promise<{ send: Send; close: () => void }> {
    const session = await daemon().newSession({ token: true });
    const client = new HttpClient(portOf(daemon()), '/mcp/chatty', bearer(session));
    await handshake(client);
    return {
      send: async (message) => {
        return within(client.post(message).then((reply) => reply.json()));
      },
      close: () => client.close(),
    };
  }

  async function overLines(): Promise<{ send: Send; close: () => void }> {
    const client = await LineClient.upgrade(socketOf(await daemon().newSession()), '/mcp/chatty');
    await handshake(client);
    return {
      send: async (message) => {
        const from = client.lines.length;
        client.sendRaw(Buffer.concat([Buffer.from(message), Buffer.from('\n')]));
        return (
          await client.waitFor(
            ({ result, error }) => result !== undefined || error !== undefined,
            5_000,
            from,
          )
        ).message as Message;
      },
      close: () => void client.close(),
    };
  }

  for (const [transport, open] of [
    ['http', overHttp],
    ['line', overLines],
  ] as const) {
    test(`C1 G1: what is ambiguous, broken or too deep is refused (${transport})`, async (t) => {
      const { send, close } = await open();
      t.after(close);
      const wrong: string[] = [];
      for (const [what, message] of Object.entries(refused)) {
        const answer = await send(message).catch((error: Error) => ({ error }));
        if (refusalIn(answer as Message) !== 'bad_message')
          wrong.push(`${what}: ${JSON.stringify(answer).slice(0, 200)}`);
      }
      assert.deepEqual(wrong, []);
      assert.equal(textOf(await send(call('"after"', '{}'))), call('"after"', '{}'));
    });

    test(`C1: everything else arrives byte by byte (${transport})`, async (t) => {
      const { send, close } = await open();
      t.after(close);
      for (const [what, args] of Object.entries(unharmed)) {
        for (const id of ['1', '"id"', '""', '-7', '0', '9007199254740991']) {
          const message = call(id, args);
          const answer = await send(message);
          assert.equal(textOf(answer), message, what);
          assert.equal(JSON.stringify(answer.id), id, what);
        }
      }
    });

    test(`C1: after __proto__ nothing is polluted (${transport})`, async (t) => {
      const { send, close } = await open();
      t.after(close);
      for (const key of ['__proto__', 'constructor', 'prototype']) {
        await send(
          call('1', `{"${key}":{"polluted":"yes","toJSON":1}}`, `,"_meta":{"${key}":{"progressToken":1}}`),
        );
        await send(
          `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"${key}":{"name":"exit"}},"${key}":{"polluted":1}}`,
        );
      }
      const { control } = daemon();
      assert.ok(!JSON.stringify(await control.status()).includes('polluted'));
      assert.equal(textOf(await send(call('2', '{}'))), call('2', '{}'));
    });
  }

  test('C1: pretty-printed JSON becomes one line and nothing else changes', async (t) => {
    const { send, close } = await overHttp();
    t.after(close);
    const pretty = JSON.stringify(JSON.parse(call('1', '{"a":{"b":["\\n",2]}}')), null, 2).replaceAll(
      '\n',
      '\r\n',
    );
    assert.equal(textOf(await send(pretty)), pretty.replaceAll(/[\r\n]/g, ' '));
  });

  test('C1: lines that are empty or end in CR are lines', async (t) => {
    const client = await LineClient.upgrade(socketOf(await daemon().newSession()), '/mcp/chatty');
    t.after(() => client.close());
    await handshake(client);
    client.sendRaw(`\n\r\n${call('1', '{}')}\r\n\n`);
    assert.equal(textOf(await client.response(1, 5_000, client.lines.length)), call('1', '{}'));
    assert.ok(!client.lines.some(({ message }) => message?.error !== undefined));
  });

  test('C1: a message in the smallest pieces is one message', async (t) => {
    const client = await LineClient.upgrade(socketOf(await daemon().newSession()), '/mcp/chatty');
    t.after(() => client.close());
    await handshake(client);
    const message = Buffer.from(call('"pieces"', '{"a":"é😀"}'));
    for (const byte of message) {
      client.sendRaw(Buffer.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    client.sendRaw('\n');
    assert.equal(textOf(await client.response('pieces')), message.toString());
  });
});
