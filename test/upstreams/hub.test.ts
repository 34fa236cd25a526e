/** How a shared connection comes to be: the question for the era, its answer, and what both leave behind. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isRefusal, refuse } from '../../src/errors.ts';
import { limits } from '../../src/limits.ts';
import type { EraVerdict } from '../../src/upstreams/era.ts';
import type { Handover } from '../../src/upstreams/handover.ts';
import { Hub, type HubPorts } from '../../src/upstreams/hub.ts';
import type { OpenTransport } from '../../src/upstreams/transport.ts';
import { Client, FakeServer, grantFor, serverResult, settled } from './mux-support.ts';

interface Rig {
  readonly hub: Hub;
  readonly servers: FakeServer[];
  readonly spares: Handover[];
  readonly learnt: EraVerdict[];
  known: EraVerdict | null;
  share(session: string, era: 'legacy' | 'modern'): Promise<Client | string>;
}

type Behave = (server: FakeServer, message: { id?: unknown; method?: string }) => void;

function rig(behave: Behave, options: Partial<HubPorts> & { readonly spares?: boolean } = {}): Rig {
  const { spares: keeps = true, ...ports } = options;
  const servers: FakeServer[] = [];
  const spares: Handover[] = [];
  const learnt: EraVerdict[] = [];
  const connect: OpenTransport = (grant, events) => {
    const server = new FakeServer();
    server.onLine = (message) => queueMicrotask(() => behave(server, message));
    servers.push(server);
    return server.open(grant, events);
  };
  const made: Rig = {
    servers,
    spares,
    learnt,
    known: null,
    hub: new Hub({
      name: 'u',
      connect,
      knownEra: () => made.known,
      learnEra: (verdict) => {
        learnt.push(verdict);
        made.known = verdict;
      },
      keepSpare: keeps ? (connection) => spares.push(connection) : null,
      dropped: () => {},
      startTimeoutMs: 1_000,
      ...ports,
    }),
    share: async (session, era) => {
      const client = new Client();
      client.grant = await grantFor(session);
      const share = await made.hub.share(client.grant, era, client.events);
      if (isRefusal(share)) return share.refused;
      client.leg = share.transport;
      return client;
    },
  };
  return made;
}

const modern: Behave = (server, { id, method }) => {
  if (method === 'server/discover')
    server.say({ id, result: { supportedVersions: ['2026-07-28'], capabilities: {} } });
  else if (id !== undefined) server.say({ id, result: { method } });
};

const legacy: Behave = (server, { id, method }) => {
  if (method === 'initialize') server.say({ id, result: serverResult });
  else if (id !== undefined) server.say({ id, error: { code: -32601, message: 'Method not found' } });
};

const asked = (server: FakeServer | undefined): number => server?.count('server/discover') ?? 0;

test('those who come while it opens share one connection, and the question is asked once', async () => {
  const made = rig(modern);
  const clients = await Promise.all(['a', 'a', 'b'].map((session) => made.share(session, 'modern')));
  assert.ok(clients.every((client) => client instanceof Client));
  assert.deepEqual([made.servers.length, asked(made.servers[0])], [1, 1]);
  assert.deepEqual(made.learnt, [{ era: 'modern', supportedVersions: ['2026-07-28'] }]);
  const [first] = clients as Client[];
  first?.send({ id: 1, method: 'tools/list', params: {} });
  await settled();
  assert.deepEqual(
    (clients as Client[]).map(({ lines }) => lines.length),
    [1, 0, 0],
    'the answer to the question is nobody else’s',
  );
});

test('a legacy server is kept for the client that falls back, and never asked again', async () => {
  const made = rig(legacy);
  assert.deepEqual(await Promise.all(['a', 'a'].map((session) => made.share(session, 'modern'))), [
    'era_unsupported',
    'era_unsupported',
  ]);
  assert.deepEqual([made.servers.length, made.spares.length], [1, 1]);
  assert.equal(await made.share('a', 'modern'), 'era_unsupported');
  assert.equal(made.servers.length, 1);
});

test('shared by all: a legacy server serves legacy clients on the connection that was asked', async () => {
  const made = rig(legacy, { spares: false });
  const client = await made.share('a', 'legacy');
  assert.ok(client instanceof Client);
  client.send({ id: 'i', method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {} } });
  await settled();
  assert.equal(client.got[0]?.id, 'i');
  assert.equal(await made.share('b', 'modern'), 'era_unsupported');
  assert.equal(made.servers.length, 1);
});

test('shared by all: a server that dies of the question is started once more', async () => {
  const dies: Behave = (server, message) =>
    message.method === 'server/discover' ? server.exit('exited with code 1') : legacy(server, message);
  const made = rig(dies, { spares: false });
  const client = await made.share('a', 'legacy');
  assert.ok(client instanceof Client);
  assert.deepEqual([made.servers.length, asked(made.servers[1])], [2, 0]);
});

test('a server that is silent is taken for legacy when the time is up; its late answer reaches nobody', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const silent: Behave = (server, message) => {
    if (message.method !== 'server/discover') legacy(server, message);
  };
  const made = rig(silent, { spares: false });
  const sharing = made.share('a', 'legacy');
  await settled();
  assert.equal(asked(made.servers[0]), 1);
  t.mock.timers.tick(limits.eraProbeMs - 1);
  await settled();
  assert.deepEqual(made.learnt, []);
  t.mock.timers.tick(1);
  const client = await sharing;
  assert.deepEqual(made.learnt, [{ era: 'legacy' }]);
  assert.ok(client instanceof Client);
  client.send({ id: 1, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {} } });
  await settled();
  const question = made.servers[0]?.read.find(({ method }) => method === 'server/discover');
  made.servers[0]?.say({ id: question?.id, result: { supportedVersions: ['2026-07-28'] } });
  await settled();
  assert.deepEqual(client.ids, [1]);
  assert.equal(made.servers.length, 1);
});

test('what could not be asked is a refusal, closed and forgotten', async () => {
  const made = rig((server, { id }) =>
    server.lose(id as string, refuse('credential_unavailable', 'HTTP 401', { status: 401 })),
  );
  assert.equal(await made.share('a', 'modern'), 'credential_unavailable');
  assert.deepEqual([made.learnt.length, made.servers[0]?.stopped], [0, true]);
  assert.equal(await made.share('a', 'modern'), 'credential_unavailable');
  assert.equal(made.servers.length, 2, 'the next one asks again');
});

test('a connection that ended is replaced by the next who comes; its clients are told once', async () => {
  const made = rig(modern);
  const client = await made.share('a', 'modern');
  made.servers[0]?.exit('was killed');
  await settled();
  assert.ok(client instanceof Client);
  assert.deepEqual(client.exits, ['was killed']);
  assert.equal(made.hub.idleSince, null);
  assert.ok((await made.share('a', 'modern')) instanceof Client);
  assert.deepEqual([made.servers.length, asked(made.servers[1])], [2, 0]);
});

test('stopped while it asks: the server is stopped at once, and nothing was learnt', async () => {
  const made = rig(() => {});
  const sharing = made.share('a', 'modern');
  await settled();
  await made.hub.stop();
  assert.equal(await sharing, 'upstream_exited');
  assert.deepEqual([made.servers[0]?.stopped, made.learnt.length, made.spares.length], [true, 0, 0]);
});

test('idle is counted from the last one who left', async () => {
  const made = rig(modern);
  const [one, other] = (await Promise.all(['a', 'b'].map((who) => made.share(who, 'modern')))) as Client[];
  await one?.leg.stop();
  assert.equal(made.hub.idleSince, null);
  await other?.leg.stop();
  assert.ok(Date.now() - (made.hub.idleSince ?? 0) < 1_000);
  await made.hub.stop();
  assert.equal(made.servers[0]?.stopped, true);
});
