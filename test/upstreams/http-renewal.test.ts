/** What a refusal by an HTTP upstream does to its credential; the helpers and the broker are the real ones. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, openSync, writeSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { limits } from '../../src/limits.ts';
import { Rig, ref, Turns } from '../credentials/helpers-support.ts';
import { canary, directory } from '../credentials/support.ts';
import { until } from './children.ts';
import { connect, modern, type Peer, type Seen, serve } from './http-peer.ts';

const bearer = { bearer: ref('h') };

function ok(seen: Seen, response: ServerResponse): void {
  response.writeHead(200, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify({ jsonrpc: '2.0', id: seen.body.id, result: { done: true } }));
}

/** A server that takes one value alone, and refuses others with `status`. */
function guarded(t: TestContext, accepted: () => string, status: number, body = '') {
  return serve(t, (seen, response) => {
    if (seen.headers.authorization === `Bearer ${accepted()}`) ok(seen, response);
    else response.writeHead(status, { 'Content-Type': 'application/json' }).end(body);
  });
}

function sent(seen: readonly Seen[]): unknown[] {
  return seen.map(({ headers }) => headers.authorization?.replace('Bearer ', ''));
}

const call = ['tools/call', { name: 'x', arguments: { text: 'canary-argument' } }] as const;

for (const status of [401, 403])
  test(`D4: ${status}: the helper is asked again and the call repeated once, whatever it does; the old value stays redacted`, async (t) => {
    const [old, fresh] = [canary(), canary()];
    const turns = new Turns(t, [old, fresh], { ttlMs: 3_600_000 });
    const rig = new Rig(t, { h: turns.helper });
    const upstream = await guarded(t, () => fresh, status);
    const peer = await connect(t, upstream.url, { spec: bearer, credentials: rig.broker });
    assert.equal((await peer.answer(...call)).failed, false);
    assert.deepEqual(sent(upstream.requests), [old, fresh]);
    assert.deepEqual(upstream.requests[0]?.body, upstream.requests[1]?.body);
    assert.equal((await peer.answer(...call)).failed, false);
    assert.equal(upstream.requests.length, 3);
    assert.equal(turns.runs, 2);
    assert.deepEqual(rig.broker.contains([old, fresh]), ['command:h', 'command:h']);
    for (const value of [old, fresh]) assert.ok(!peer.said().includes(value));
  });

test('401 again with another credential: no third attempt, and a structured refusal', async (t) => {
  const turns = new Turns(t, [canary(), canary(), canary()]);
  const rig = new Rig(t, { h: turns.helper });
  const upstream = await guarded(t, () => 'none', 401);
  const peer = await connect(t, upstream.url, { spec: bearer, credentials: rig.broker });
  assert.deepEqual(await peer.refusal(...call), {
    refused: 'credential_unavailable',
    reason: 'upstream up refused its credential (HTTP 401)',
    data: { status: 401 },
  });
  assert.equal(upstream.requests.length, 2);
});

test('a server that refuses everything does not run the helper for each request', async (t) => {
  const turns = new Turns(t, ['canary-unchanging']);
  const rig = new Rig(t, { h: turns.helper });
  const upstream = await guarded(t, () => 'none', 403);
  const peer = await connect(t, upstream.url, { spec: bearer, credentials: rig.broker });
  for (let count = 0; count < 5; count++)
    assert.equal((await peer.refusal(...call)).refused, 'credential_unavailable');
  assert.equal(turns.runs, 2);
  assert.equal(upstream.requests.length, 5, 'nothing is repeated with the same credential');
  rig.seconds = limits.credentialRetryMs / 1000;
  await peer.refusal(...call);
  assert.equal(turns.runs, 3);
});

test('403 that is an answer of the server passes as it is, however large, when there is no other credential', async (t) => {
  const turns = new Turns(t, ['canary-unchanging']);
  const rig = new Rig(t, { h: turns.helper });
  const padding = 'x'.repeat(1024 * 1024);
  const upstream = await serve(t, (seen, response) => {
    response.writeHead(403, { 'Content-Type': 'application/json', Connection: 'close' });
    const error = { code: -32001, message: 'not yours', data: padding };
    response.end(JSON.stringify({ jsonrpc: '2.0', id: seen.body.id, error }));
  });
  const peer = await connect(t, upstream.url, { spec: bearer, credentials: rig.broker });
  for (let count = 0; count < 2; count++) {
    const { error } = await peer.answer(...call);
    assert.deepEqual(error, { code: -32001, message: 'not yours', data: padding });
  }
  assert.equal(turns.runs, 2);
});

test('without a credential, 401 is passed on at once', async (t) => {
  const upstream = await serve(t, (_seen, response) => response.writeHead(401).end());
  const peer = await connect(t, upstream.url);
  assert.equal((await peer.refusal(...call)).reason, 'upstream up wants a credential (HTTP 401)');
  assert.equal(upstream.requests.length, 1);
});

test('one that expires is renewed before it is refused', async (t) => {
  const turns = new Turns(t, ['canary-1', 'canary-2'], { ttlMs: 100_000 });
  const rig = new Rig(t, { h: turns.helper });
  const upstream = await serve(t, ok);
  const peer = await connect(t, upstream.url, { spec: bearer, credentials: rig.broker });
  await peer.answer(...call);
  rig.seconds = 81;
  await Promise.all([1, 2, 3].map(() => peer.answer(...call)));
  assert.deepEqual(sent(upstream.requests), ['canary-1', 'canary-2', 'canary-2', 'canary-2']);
  assert.equal(turns.runs, 2);
});

test('a renewal that fails sends the old one while it is good; then the server decides', async (t) => {
  const turns = new Turns(t, ['canary-1'], { ttlMs: 100_000 });
  const rig = new Rig(t, { h: turns.helper });
  const upstream = await serve(t, ok);
  const peer = await connect(t, upstream.url, { spec: bearer, credentials: rig.broker });
  turns.act('exit 4');
  rig.seconds = 90;
  await peer.answer(...call);
  assert.match(rig.problems.join(), /^command:h: the helper exited with code 4; the value before is used/);
  assert.deepEqual(peer.problems, []);
  rig.seconds = 200;
  await peer.answer(...call);
  assert.match(peer.problems.join(), /^command:h: the helper exited with code 4$/);
  assert.deepEqual(sent(upstream.requests), ['canary-1', 'canary-1']);
});

test('two conversations that are refused together share one run of the helper', async (t) => {
  const turns = new Turns(t, ['canary-1', 'canary-2', 'canary-3'], { ttlMs: 3_600_000 });
  const rig = new Rig(t, { h: turns.helper });
  const upstream = await guarded(t, () => 'canary-2', 401);
  const options = { spec: bearer, credentials: rig.broker };
  const peers = await Promise.all([1, 2, 3].map(() => connect(t, upstream.url, options)));
  await Promise.all(peers.flatMap((peer) => [1, 2].map(() => peer.answer('tools/list', modern()))));
  assert.equal(turns.runs, 2);
});

test('AWS keys of one request are of one run', async (t) => {
  const keys = (n: number): string =>
    JSON.stringify({ Version: 1, AccessKeyId: `canary-id-${n}`, SecretAccessKey: `canary-key-${n}` });
  const turns = new Turns(t, [keys(1), keys(2), keys(3)], { ask: { format: 'aws' } });
  const rig = new Rig(t, { h: turns.helper });
  const upstream = await serve(t, (seen, response) => {
    if (seen.headers['x-id'] === 'canary-id-2' && seen.headers['x-key'] === 'canary-key-2')
      ok(seen, response);
    else response.writeHead(401).end();
  });
  const secrets = { 'X-Id': ref('h', 'AccessKeyId'), 'X-Key': ref('h', 'SecretAccessKey') };
  const peer = await connect(t, upstream.url, { spec: { secrets }, credentials: rig.broker });
  await peer.answer(...call);
  assert.equal(turns.runs, 2);
});

/** A peer whose call was refused, and whose helper waits until `go` is called. */
async function waiting(t: TestContext, url: string): Promise<{ peer: Peer; turns: Turns; go: () => void }> {
  const path = directory(t);
  const [pipe, started] = [join(path, 'pipe'), join(path, 'started')];
  assert.equal(spawnSync('mkfifo', [pipe]).status, 0);
  const turns = new Turns(t, ['canary-1', 'canary-2'], { ttlMs: 3_600_000 });
  const rig = new Rig(t, { h: turns.helper });
  const peer = await connect(t, url, { spec: bearer, credentials: rig.broker });
  turns.act(`: > ${started}; read line < ${pipe}`);
  peer.send({ id: 'w', method: call[0], params: call[1] });
  await until(() => existsSync(started), 'the helper');
  return { peer, turns, go: () => void writeSync(openSync(pipe, 'w'), 'go\n') };
}

test('a connection that ends while the helper runs: nothing is repeated for it, or heard of it', async (t) => {
  const upstream = await guarded(t, () => 'canary-2', 401);
  const { peer, turns, go } = await waiting(t, upstream.url);
  const stopped = peer.stop();
  go();
  await stopped;
  assert.equal(turns.runs, 2);
  assert.equal(upstream.requests.length, 1);
  assert.deepEqual([peer.messages, peer.noAnswers], [[], []]);
});

test('a server that hangs up after its refusal, or meanwhile is held back: the repetition is answered once', async (t) => {
  const upstream = await serve(t, (seen, response) => {
    if (seen.headers.authorization === 'Bearer canary-2') return ok(seen, response);
    response.writeHead(401, { 'Content-Length': 10_000 });
    response.write('part', () => response.destroy());
  });
  const { peer, go } = await waiting(t, upstream.url);
  peer.transport.pause();
  peer.transport.resume();
  assert.deepEqual([peer.messages, peer.noAnswers], [[], []], 'the refusal is held back');
  go();
  await until(() => peer.messages.length + peer.noAnswers.length > 0, 'the answer');
  assert.deepEqual(sent(upstream.requests), ['canary-1', 'canary-2']);
  assert.deepEqual([peer.messages.length, peer.noAnswers.length], [1, 0]);
});
