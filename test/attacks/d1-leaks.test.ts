/**
 * D1, D2, D5, D6: an upstream that gives its secret away in every way that it can. Every byte that reached a client, on
 * every transport, and everything that ostiary itself wrote is searched by `support/leaks.ts`, which shares nothing with
 * the scrubber.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Secret } from '../../src/credentials/secret.ts';
import { Vault } from '../../src/credentials/vault.ts';
import { HttpClient, initializeParams, LineClient, type Message } from '../support/client.ts';
import {
  bearer,
  eventually,
  mainFile,
  portOf,
  sharedDaemon,
  socketOf,
  startDaemon,
} from '../support/daemon.ts';
import { canary, scanForLeaks } from '../support/leaks.ts';
import { fixtureServer } from '../support/servers.ts';

/** Told by the server as they are; a value that is split over several messages is not found (docs: D3). */
const requests: readonly Message[] = [
  { method: 'tools/list' },
  { method: 'resources/list' },
  { method: 'resources/templates/list' },
  { method: 'prompts/list' },
  { method: 'prompts/get', params: { name: 'leak' } },
  { method: 'resources/read', params: { uri: 'leak://text' } },
  { method: 'resources/read', params: { uri: 'leak://blob' } },
  { method: 'resources/read', params: { uri: 'leak://missing' } },
  {
    method: 'completion/complete',
    params: { ref: { type: 'ref/prompt', name: 'leak' }, argument: { name: 'x', value: '' } },
  },
  { method: 'logging/setLevel', params: { level: 'debug' } },
  { method: 'tools/call', params: { name: 'no such tool' } },
  { method: 'acme/unknown' },
];

/** The same where all upstreams are one. */
function merged({ method = '', params = {} }: Message): Message {
  const { name, uri, ref } = params;
  return {
    method,
    params: {
      ...params,
      ...(typeof name === 'string' && { name: `leaky__${name}` }),
      ...(typeof uri === 'string' && { uri: `leaky+${uri}` }),
      ...(ref !== undefined && { ref: { type: 'ref/prompt', name: 'leaky__leak' } }),
    },
  };
}

const answerTo = (question: Message): Message => ({
  jsonrpc: '2.0',
  id: question.id ?? null,
  result: question.method === 'roots/list' ? { roots: [] } : { action: 'decline' },
});

interface Transcript {
  /** Every byte that came. */
  readonly received: Buffer;
  readonly messages: readonly Message[];
}

/** What a client says in one conversation: `initialize`, all lists, all tools that the list names. */
async function converse(
  ask: (message: Message) => Promise<Message | undefined>,
  notify: (message: Message) => Promise<void>,
  first: readonly Message[] = requests,
): Promise<void> {
  let id = 0;
  const request = ({ method, params = {} }: Message) => {
    id++;
    return ask({
      jsonrpc: '2.0',
      id,
      method: method as string,
      params: { ...params, _meta: { progressToken: id } },
    });
  };
  const capabilities = { roots: {}, elicitation: {}, sampling: {} };
  await request({ method: 'initialize', params: initializeParams('2025-11-25', capabilities) });
  await notify({ jsonrpc: '2.0', method: 'notifications/initialized' });
  const answers = new Map<Message, Message | undefined>();
  for (const one of first) answers.set(one, await request(one));
  const tools = answers.get(first[0] as Message)?.result?.tools as { name: string }[];
  assert.ok(tools.length > 40, 'the list of tools came');
  for (const { name } of tools) await request({ method: 'tools/call', params: { name, arguments: {} } });
}

async function overLines(socketPath: string, path = '/mcp/leaky'): Promise<Transcript> {
  const client = await LineClient.upgrade({ socketPath }, path);
  let answered = 0;
  const answerAll = (): void => {
    for (; answered < client.lines.length; answered++) {
      const message = client.lines[answered]?.message;
      if (message?.method !== undefined && message.id !== undefined) client.send(answerTo(message));
    }
  };
  const pump = setInterval(answerAll, 5);
  await converse(
    (message) => client.request(message.method as string, message.params, { id: message.id as number }),
    (message) => client.notify(message.method as string, message.params),
    path === '/mcp' ? requests.map(merged) : requests,
  );
  clearInterval(pump);
  await client.close();
  const received = Buffer.concat(client.lines.flatMap(({ raw }) => [raw, Buffer.from('\n')]));
  return {
    received,
    messages: client.lines.flatMap(({ message }) => (message === undefined ? [] : [message])),
  };
}

type HttpStyle = 'stream' | 'json and a GET stream' | 'json, then a GET stream';

async function overHttp(client: HttpClient, style: HttpStyle): Promise<Transcript> {
  const chunks: Buffer[] = [];
  const messages: Message[] = [];
  const accept = style === 'stream' ? 'application/json, text/event-stream' : 'application/json';

  /** Keeps all bytes, answers all questions, resolves at the end or with the answer to `id`. */
  const listen = async (
    reply: Awaited<ReturnType<HttpClient['post']>>,
    id?: unknown,
  ): Promise<Message | undefined> => {
    chunks.push(Buffer.from(JSON.stringify(reply.headers)));
    reply.stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    const take = async (message: Message | undefined): Promise<boolean> => {
      if (message === undefined) return false;
      messages.push(message);
      if (message.method !== undefined && message.id !== undefined)
        chunks.push(await (await client.post(answerTo(message))).body());
      return message.id === id && message.method === undefined;
    };
    if (reply.headers['content-type'] !== 'text/event-stream') {
      const body = await reply.body();
      const message = body.length === 0 ? undefined : (JSON.parse(body.toString()) as Message);
      await take(message);
      return message;
    }
    let answer: Message | undefined;
    for await (const { message } of reply.events()) if (await take(message)) answer = message;
    return answer;
  };
  const get = async () => {
    const reply = await client.get();
    assert.equal(reply.status, 200);
    return { reply, done: listen(reply).catch(() => undefined) };
  };

  let standing: Awaited<ReturnType<typeof get>> | undefined;
  await converse(
    async (message) => {
      const reply = await client.post(message, { Accept: accept });
      if (message.method === 'initialize') {
        client.sessionId = String(reply.headers['mcp-session-id']);
        client.protocolVersion = '2025-11-25';
      }
      return listen(reply, message.id);
    },
    async (message) => {
      chunks.push(await (await client.post(message)).body());
      if (style === 'json and a GET stream') standing = await get();
    },
  );
  standing ??= await get();
  await (await client.delete()).body();
  await standing.done;
  client.close();
  return { received: Buffer.concat(chunks), messages };
}

/** What shows that a way of leaking was really tried: its message came, with a mark in the secret's place. */
function assertTried({ received, messages }: Transcript, what: string): void {
  const text = received.toString('latin1');
  const marks = text.split('[redacted vault:leaky').length - 1;
  assert.ok(marks > 40, `${what}: ${marks} marks`);
  for (const method of [
    'notifications/progress',
    'notifications/message',
    'notifications/acme/event',
    'elicitation/create',
    'roots/list',
  ])
    assert.ok(
      messages.some((message) => message.method === method),
      `${what}: no ${method} came`,
    );
}

// A tail that JSON, percent encoding and base64 each write in another way.
for (const [kind, tail] of [
  ['plain', ''],
  ['awkward', '"\\/+ %é\u{1f511}'],
] as const)
  describe(`D1 D2 D5 D6 a leaky upstream, ${kind} secret`, () => {
    const secret = canary(`leaky-${kind}`, tail);
    const daemon = sharedDaemon({
      // `request_id` waits for an answer under an id that the client never got to know.
      config: {
        upstreams: {
          leaky: { ...fixtureServer('leaky'), secrets: { SECRET: 'vault:leaky' }, call_timeout: '2s' },
        },
      },
      secrets: { leaky: secret.value },
    });

    const leaksIn = (text: Buffer | string) => scanForLeaks([secret], { texts: [text] });

    test('D1 D2 D6: no byte on a line connection shows the secret', async () => {
      const transcript = await overLines((await daemon().newSession()).socket);
      assert.deepEqual(leaksIn(transcript.received), []);
      assertTried(transcript, 'line');
    });

    test('D1 D2 D6: no byte of the merged endpoint shows the secret', async () => {
      const transcript = await overLines((await daemon().newSession()).socket, '/mcp');
      assert.deepEqual(leaksIn(transcript.received), []);
      assertTried(transcript, 'merged');
    });

    for (const style of ['stream', 'json and a GET stream'] as const)
      test(`D1 D2 D6: no byte over HTTP shows the secret: ${style}`, async () => {
        const session = await daemon().newSession({ token: true });
        const client = new HttpClient(portOf(daemon()), '/mcp/leaky', bearer(session));
        const transcript = await overHttp(client, style);
        assert.deepEqual(leaksIn(transcript.received), []);
        assertTried(transcript, style);
      });

    test('D1: what was kept for a client without a stream shows nothing either', async () => {
      const session = await daemon().newSession({ token: true });
      const client = new HttpClient(portOf(daemon()), '/mcp/leaky', bearer(session));
      const transcript = await overHttp(client, 'json, then a GET stream');
      assert.deepEqual(leaksIn(transcript.received), []);
    });

    test('D1: the shim and the CLI pass on what is clean', async () => {
      const { env } = daemon().home;
      const session = await daemon().newSession();
      const shim = LineClient.spawn(
        process.execPath,
        [mainFile, 'connect', '--socket', session.socket, 'leaky'],
        { env, cwd: '/' },
      );
      await shim.request('initialize', initializeParams());
      await shim.request('tools/call', { name: 'error', arguments: {} });
      await shim.close();
      const cli = (...args: string[]) =>
        execFileSync(process.execPath, [mainFile, ...args], { env, cwd: '/', encoding: 'utf8' });
      const shown = [
        ...shim.lines.map(({ raw }) => raw.toString('latin1')),
        shim.stderr,
        cli('list', 'leaky', '--json'),
        cli('call', 'leaky', 'result'),
        cli('status'),
        cli('status', '--json'),
        cli('session', 'list', '--json'),
      ];
      assert.deepEqual(leaksIn(shown.join('\n')), []);
      assert.match(shown.join('\n'), /\[redacted vault:leaky/);
    });

    test('D5: log, audit, status and everything on disk show nothing', async () => {
      const { home, log, control, audit, audited } = daemon();
      // Its stderr has been read when the lines of both ways are there.
      await eventually('the logged stderr', () => log().split('[redacted vault:leaky').length > 3);
      await audited(
        (record) => record.event === 'call.finished' && (record.redactions ?? []).includes('vault:leaky'),
      );
      const status = await control.status();
      const texts = [
        log(),
        JSON.stringify(audit()),
        JSON.stringify(status),
        JSON.stringify(await control.listSessions()),
      ];
      assert.deepEqual(scanForLeaks([secret], { texts, files: [home.directory] }), []);
      assert.match(JSON.stringify(status), /vault:leaky/);
    });

    test('D5 D6: what a dying daemon says shows nothing', async () => {
      daemon().kill('SIGTERM');
      const { stderr, code } = await daemon().exited;
      assert.equal(code, 0);
      assert.deepEqual(leaksIn(stderr), []);
    });
  });

test('D4: a value that was rotated stays scrubbed, and so does the new one', async (t) => {
  const [old, fresh] = [canary('old'), canary('fresh')];
  const daemon = await startDaemon(t, {
    config: {
      upstreams: {
        leaky: {
          ...fixtureServer('leaky'),
          secrets: { SECRET: 'vault:leaky' },
          env: { LEAK_HISTORY: '/tmp/unset' },
        },
      },
    },
    secrets: { leaky: old.value },
    prepare: ({ configFile, directory, env }) => {
      const text = readFileSync(configFile, 'utf8').replace('/tmp/unset', join(directory, 'history'));
      writeFileSync(configFile, text, { mode: 0o600 });
      execFileSync(process.execPath, [mainFile, 'secret', 'rebind', 'leaky', '--yes'], { env });
    },
  });
  const session = await daemon.newSession();
  const converseOnce = async (): Promise<string> => {
    const client = await LineClient.upgrade(socketOf(session), '/mcp/leaky');
    await client.request('initialize', initializeParams());
    await client.request('tools/call', { name: 'history', arguments: {} });
    await client.close();
    return client.lines.map(({ raw }) => raw.toString()).join('\n');
  };
  const before = await converseOnce();
  const vault = await Vault.open(daemon.home.state, {});
  await vault.rotate('leaky', Secret.seal('vault:leaky', Buffer.from(fresh.value)), new Date());
  const after = await converseOnce();
  const told = readFileSync(join(daemon.home.directory, 'history'), 'utf8');
  assert.ok(told.includes(old.value) && told.includes(fresh.value), 'the server knew both');
  assert.deepEqual(scanForLeaks([old, fresh], { texts: [before, after, daemon.log()] }), []);
  assert.match(after, /\[redacted vault:leaky\]\\n\[redacted vault:leaky\]/);
});
