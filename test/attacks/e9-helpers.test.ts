/** Helpers behind a real daemon: what a client, the log and the disk see of values that come and go. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { processStart } from '../../src/os/index.ts';
import { Turns } from '../credentials/helpers-support.ts';
import { directory } from '../credentials/support.ts';
import { callTool, HttpClient, handshake, textOf } from '../support/client.ts';
import { bearer, eventually, portOf, startDaemon } from '../support/daemon.ts';
import { canary, scanForLeaks } from '../support/leaks.ts';
import { fixtureServer } from '../support/servers.ts';
import { serve } from '../upstreams/http-peer.ts';
import { refusalIn } from './support.ts';

const results: Readonly<Record<string, object>> = {
  initialize: {
    protocolVersion: '2025-11-25',
    capabilities: { tools: {} },
    serverInfo: { name: 'web', version: '1' },
  },
  'tools/list': { tools: [{ name: 'echo', inputSchema: { type: 'object' } }] },
};

test('D4 E9: a value that a server no longer takes is replaced; old and new stay redacted, on no disk and in no log', async (t) => {
  const [old, fresh, last] = [canary('old'), canary('fresh'), canary('last')];
  const canaries = [old, fresh, last];
  const turns = new Turns(t, [old.value, fresh.value, last.value], { ttlMs: 3_600_000 });
  let accepted = old.value;
  const told: string[] = [];
  const upstream = await serve(t, (seen, response) => {
    const given = String(seen.headers.authorization).replace('Bearer ', '');
    told.push(given);
    const { id, method } = seen.body;
    if (given !== accepted) response.writeHead(401, { 'WWW-Authenticate': `Bearer x="${given}"` }).end(given);
    else if (id === undefined) response.writeHead(202).end();
    else {
      const result = results[String(method)] ?? { content: [{ type: 'text', text: told.join(' ') }] };
      response.writeHead(200, { 'Content-Type': 'application/json' });
      response.end(JSON.stringify({ jsonrpc: '2.0', id, result }));
    }
  });
  const [file, ...args] = turns.helper.command;
  const daemon = await startDaemon(t, {
    config: {
      version: 1,
      helpers: { h: { command: [file, ...args], env: turns.helper.env, ttl: '1h' } },
      upstreams: {
        web: { url: upstream.url, bearer: 'command:h' },
        leaky: { ...fixtureServer('leaky'), secrets: { SECRET: 'command:h' } },
      },
    },
  });
  const session = await daemon.newSession({ token: true });
  const [web, leaky] = ['/mcp/web', '/mcp/leaky'].map(
    (path) => new HttpClient(portOf(daemon), path, bearer(session)),
  ) as [HttpClient, HttpClient];
  await Promise.all([handshake(web), handshake(leaky)]);
  assert.equal(turns.runs, 1, 'a child and a server share what is kept');

  accepted = fresh.value;
  const answer = await callTool(web, 'echo');
  assert.ok(told.includes(old.value) && told.includes(fresh.value));
  assert.match(answer, /^(\[redacted command:h\] ?)+$/);
  assert.equal(turns.runs, 2);
  assert.match(await callTool(leaky, 'result'), /^The secret is \[redacted command:h\]\.$/);

  // No credential helps now: the client's session goes on all the same.
  accepted = 'nothing';
  const reply = await web.post({
    jsonrpc: '2.0',
    id: 'refused',
    method: 'tools/call',
    params: { name: 'echo' },
  });
  const [refused] = await reply.messages();
  assert.equal(reply.status, 200);
  assert.equal(refusalIn(refused), 'credential_unavailable');
  assert.equal(refused?.error?.message, 'ostiary: upstream web refused its credential (HTTP 401)');
  accepted = last.value;
  assert.match(textOf(await web.request('tools/call', { name: 'echo' })), /^(\[redacted command:h\] ?)+$/);

  assert.deepEqual(readdirSync(join(daemon.home.state, 'helpers')), ['h.lock']);
  await daemon.stop();
  const texts = [answer, JSON.stringify(refused), daemon.log()];
  assert.deepEqual(scanForLeaks(canaries, { files: [daemon.home.directory], texts }), []);
});

test('E9: kill -9 of the daemon ends a helper that hangs', async (t) => {
  const marker = join(directory(t), 'started');
  // Before it has its input it may not be guarded yet.
  const text = `trap '' TERM; cat > /dev/null; echo $$ > "$MARKER"; while :; do /bin/sleep 100; done`;
  const docker = { format: 'docker', registry: 'canary.example' };
  const daemon = await startDaemon(t, {
    config: {
      version: 1,
      helpers: { h: { command: ['/bin/sh', '-c', text], env: { MARKER: marker }, ...docker } },
      upstreams: { leaky: { ...fixtureServer('leaky'), secrets: { SECRET: 'command:h' } } },
    },
  });
  const session = await daemon.newSession({ token: true });
  const client = new HttpClient(portOf(daemon), '/mcp/leaky', bearer(session));
  const asked = assert.rejects(client.request('initialize', {}));
  const pid = await eventually('the helper', () => existsSync(marker) && readFileSync(marker, 'utf8').trim());
  assert.notEqual(processStart(Number(pid)), null);
  daemon.kill('SIGKILL');
  // Whoever inherits it may be late to reap it.
  await eventually('its end', () => processStart(Number(pid)) === null);
  await asked;
});

test('E9: a failing helper is named to the client and in the log, with nothing that it printed', async (t) => {
  const value = canary('printed');
  const path = directory(t);
  writeFileSync(join(path, 'value'), value.value);
  const print = 'cat "$DIR/value"; cat "$DIR/value" >&2';
  const daemon = await startDaemon(t, {
    config: {
      version: 1,
      helpers: {
        exits: { command: ['/bin/sh', '-c', `${print}; exit 9`], env: { DIR: path } },
        json: { command: ['/bin/sh', '-c', print], env: { DIR: path }, format: 'aws' },
      },
      upstreams: {
        one: { ...fixtureServer('leaky'), secrets: { SECRET: 'command:exits' } },
        two: { ...fixtureServer('leaky'), secrets: { SECRET: 'command:json#SecretAccessKey' } },
      },
    },
  });
  const session = await daemon.newSession({ token: true });
  const bytes = value.value.length;
  const unseen = `it printed ${bytes} bytes to stderr, which may hold the secret`;
  for (const [name, message] of [
    ['one', `command:exits: the helper exited with code 9; ${unseen}`],
    [
      'two',
      `command:json: the helper printed something else than format aws: expected JSON, got ${bytes} bytes of something else; ${unseen}`,
    ],
  ] as const) {
    const client = new HttpClient(portOf(daemon), `/mcp/${name}`, bearer(session));
    const answer = await handshake(client);
    assert.equal(refusalIn(answer), 'credential_unavailable');
    assert.ok(answer.error?.message.endsWith(message), answer.error?.message);
    await eventually('the log', () => daemon.log().includes(message));
    assert.deepEqual(scanForLeaks([value], { texts: [JSON.stringify(answer)] }), []);
  }
  await daemon.stop();
  assert.deepEqual(scanForLeaks([value], { files: [daemon.home.directory], texts: [daemon.log()] }), []);
});
