/** `ostiary connect` and `headers` against a session that answers oddly, late, in part or not at all. */
import assert from 'node:assert/strict';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { describe, type TestContext, test } from 'node:test';
import { authorizationHeaders } from '../../src/agents/headers.ts';
import { runShim } from '../../src/agents/shim.ts';
import { Failure } from '../../src/errors.ts';
import { until } from '../e2e/home.ts';
import { emptyDirectory } from '../upstreams/children.ts';

const switching = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n';

/** A session socket; `answer` gets each connection with what the client sent first. */
async function session(t: TestContext, answer: (socket: Socket, head: string) => void): Promise<string> {
  const path = join(emptyDirectory(t), 'agent.sock');
  const server: Server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', (head) => answer(socket, head.toString()));
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(() => server.close());
  return path;
}

interface Shim {
  readonly stdin: PassThrough;
  readonly output: () => string;
  /** `null` when it ended well. */
  readonly ended: Promise<Failure | null>;
}

function shim(socket: string): Shim {
  const [stdin, stdout] = [new PassThrough(), new PassThrough()];
  let output = '';
  stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  const ended = runShim({ session: socket, upstream: 'up', stdin, stdout }).then(
    () => null,
    (error: unknown) => {
      assert.ok(error instanceof Failure);
      return error;
    },
  );
  return { stdin, output: () => output, ended };
}

describe('the shim', () => {
  test('asks for its upstream, and passes lines both ways, also when they come in pieces', async (t) => {
    let asked = '';
    let received = '';
    const path = await session(t, (socket, head) => {
      asked = head;
      socket.on('data', (chunk) => {
        received += chunk.toString();
      });
      // The first line comes with the head, which itself comes in two parts.
      socket.write(switching.slice(0, 20));
      setImmediate(() => socket.write(`${switching.slice(20)}{"id":1,"result":"ä"}\n{"id":`));
      setImmediate(() => setImmediate(() => socket.write('2,"result":0}\n')));
    });
    const { stdin, output, ended } = shim(path);
    stdin.write('{"jsonrpc":"2.0","id":1,"method":"a"}\n{"jsonrpc":');
    stdin.write('"2.0","id":2,"method":"b"}\n');
    await until(() => output() === '{"id":1,"result":"ä"}\n{"id":2,"result":0}\n', 'both answers');
    stdin.end();
    assert.equal(await ended, null);
    assert.match(asked, /^GET \/mcp\/up HTTP\/1\.1\r\nHost: localhost\r\n/);
    assert.equal(received, '{"jsonrpc":"2.0","id":1,"method":"a"}\n{"jsonrpc":"2.0","id":2,"method":"b"}\n');
  });

  test('a lost connection: an error for each request that waits, no half line, and an end though stdin is open', async (t) => {
    const path = await session(t, (socket) => {
      socket.write(switching);
      socket.on('data', () => {
        socket.write('{"jsonrpc":"2.0","id":"b","result":{}}\n{"jsonrpc":"2.0","id":1,"resu');
        setImmediate(() => socket.destroy());
      });
    });
    const { stdin, output, ended } = shim(path);
    const calls = [
      { id: 1, method: 'x' },
      { id: 'b', method: 'x' },
      { method: 'n' },
      { id: 'c\u2028', method: 'x' },
    ];
    stdin.write(calls.map((call) => `${JSON.stringify({ jsonrpc: '2.0', ...call })}\n`).join(''));
    const failure = await ended;
    assert.equal(failure?.kind, 'daemon');
    assert.match(failure?.message ?? '', /the connection to ostiary was lost/);
    assert.ok(stdin.destroyed, 'nothing keeps the process');
    const lines = output()
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as { id: unknown; error?: { data: object } });
    assert.deepEqual(
      lines.map(({ id, error }) => [id, error !== undefined]),
      [
        ['b', false],
        [1, true],
        ['c\u2028', true],
      ],
    );
    assert.deepEqual(lines[1]?.error?.data, { ostiary: 'shutting_down' });
  });

  for (const [what, answer, message] of [
    [
      'a refusal',
      'HTTP/1.1 404 Not Found\r\n\r\n{"error":{"message":"ostiary: no such upstream in this session"}}',
      /^no such upstream in this session$/,
    ],
    ['something else', 'HTTP/1.1 200 OK\r\n\r\n<html>', /^unexpected answer: HTTP\/1\.1 200 OK$/],
    ['half a head', 'HTTP/1.1 10', /^cannot reach the session at .*: ECONNRESET$/],
  ] as const)
    test(`is told why not: ${what}`, async (t) => {
      const { ended, output } = shim(await session(t, (socket) => socket.end(answer)));
      const failure = await ended;
      assert.equal(failure?.kind, 'daemon');
      assert.match(failure?.message ?? '', message);
      assert.equal(output(), '');
    });

  test('no session: says what to do', async () => {
    const failure = await shim('/nowhere/agent.sock').ended;
    assert.equal(failure?.message, 'cannot reach the session at /nowhere/agent.sock: ENOENT');
    assert.match(failure?.hint ?? '', /ostiary run/);
  });
});

describe('headers', () => {
  test('are those of a token that the session gives', async (t) => {
    let asked = '';
    const path = await session(t, (socket, head) => {
      asked = head;
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 15\r\nConnection: close\r\n\r\n{"token":"tok"}');
    });
    assert.deepEqual(JSON.parse(await authorizationHeaders(path)), { Authorization: 'Bearer tok' });
    assert.match(asked, /^POST \/token HTTP\/1\.1\r\n/);
  });

  for (const [what, answer] of [
    ['a refusal', 'HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'],
    ['no HTTP', 'hello\r\n\r\n'],
    ['an end', ''],
  ] as const)
    test(`${what} is a failure`, async (t) => {
      const path = await session(t, (socket) => socket.end(answer));
      await assert.rejects(authorizationHeaders(path), (error: unknown) => {
        assert.ok(error instanceof Failure);
        assert.match(error.message, /^no token from the session at /);
        return true;
      });
    });
});
