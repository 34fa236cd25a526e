/**
 * A17, B4, B7 on a shared host (level L2): the daemon has a uid of its own; the agents of users that it lists get sessions
 * and nothing else, everybody else nothing. Three real uids.
 */
import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { SessionReport } from '../../src/proxy/control.ts';
import { type Ends, type Running, start } from '../os/support.ts';
import { eventually, type Home, mainFile, makeHome, sharedDaemon } from '../support/daemon.ts';
import { fixtureServer } from '../support/servers.ts';
import { initialize, parseReply, postLines } from './support.ts';

const keeper = 2003;
const alice = 2001;
const other = 2004;
const outsider = 2002;

const controlModule = new URL('../../src/cli/control.js', import.meta.url).href;

/** Node as that user, in that group besides its own. */
function become(
  t: Ends,
  uid: number,
  group: number,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  cwd = '/',
): Running {
  const as = ['--reuid', String(uid), '--regid', String(uid), '--groups', String(group)];
  return start(t, 'setpriv', [...as, process.execPath, ...args], { env, cwd });
}

/** Answers one order per line: connect and say what comes back, lease a session, bind one, read files. */
const USER = `
const { ControlClient } = await import(process.env.CONTROL);
const { createInterface } = await import('node:readline');
const net = await import('node:net');
const fs = await import('node:fs');
const leases = [];
const orders = {
  connect: (to, bytes) => new Promise((done) => {
    const chunks = [];
    const socket = typeof to === 'number' ? net.connect(to, '127.0.0.1') : net.connect(to);
    socket.on('connect', () => socket.write(bytes));
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', ({ code }) => chunks.push(Buffer.from('error ' + code)));
    socket.on('close', () => done(Buffer.concat(chunks).toString()));
  }),
  lease: async (socket, wish) => {
    const lease = await new ControlClient(socket).lease(wish);
    leases.push(lease);
    return lease.report;
  },
  bind: (socket, id, wish) => new ControlClient(socket).bindSession(id, wish),
  read: (path) => { fs.readFileSync(path).length; return 'read'; },
  list: (path) => fs.readdirSync(path),
};
console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  const [order, ...args] = JSON.parse(line);
  let said;
  try { said = { value: await orders[order](...args) }; } catch ({ message, code }) { said = { error: code ?? message }; }
  console.log(JSON.stringify(said));
}`;

interface User {
  ask(...order: unknown[]): Promise<{ value?: unknown; error?: string }>;
  readonly pid: number;
  end(): Promise<unknown>;
}

async function user(t: Ends, uid: number, group: number): Promise<User> {
  const running = become(t, uid, group, ['--input-type=module', '-e', USER], { CONTROL: controlModule });
  assert.equal(await running.line(), 'ready');
  return {
    pid: running.pid,
    ask: async (...order) => {
      running.child.stdin.write(`${JSON.stringify(order)}\n`);
      return JSON.parse(await running.line()) as { value?: unknown; error?: string };
    },
    end: () => {
      running.child.kill('SIGKILL');
      return running.ended;
    },
  };
}

/** A home of a user who runs an agent, and a project in it. */
function ownHome(uid = alice) {
  const own = makeHome();
  const project = join(own.directory, 'project');
  mkdirSync(project);
  for (const path of ['', ...readdirSync(own.directory)]) chownSync(join(own.directory, path), uid, uid);
  return { ...own, project, remove: () => rmSync(own.directory, { recursive: true }) };
}

const secret = 'canary-a17-guests-5d1f0c';
const unable =
  process.platform !== 'linux' || process.getuid?.() !== 0
    ? 'needs root on Linux to become other users'
    : false;

describe('A17 users of a daemon that is not theirs', { skip: unable }, () => {
  const home: Home = makeHome();
  const agents = join(home.runtime, 'ostiary-agents');
  const door = join(agents, 'agents.sock');
  const daemon = sharedDaemon({
    home,
    uid: keeper,
    secrets: { chatty: secret },
    config: {
      listen: { allow_uids: [alice, other], socket_group: keeper },
      upstreams: { chatty: { ...fixtureServer('chatty'), secrets: { TOKEN: 'vault:chatty' } } },
      profiles: {
        default: { rules: [{ allow: 'chatty' }] },
        theirs: { rules: [{ allow: 'chatty' }], users: [other] },
        ours: { rules: [{ allow: '*' }] },
      },
    },
    // As /run is: others may pass, not look.
    prepare: ({ directory, runtime }) => {
      for (const path of [directory, runtime]) chmodSync(path, 0o711);
    },
  });
  const ends: (() => Promise<void>)[] = [];
  const shared: Ends = { after: (end) => void ends.push(end) };
  after(() => Promise.all(ends.map((end) => end())));
  let [a, o, x] = [] as User[];
  before(async () => {
    [a, o, x] = await Promise.all([alice, other, outsider].map((uid) => user(shared, uid, keeper)));
  });
  const the = (one: User | undefined): User => one ?? assert.fail('not started');
  const wish = (profile = 'default') => ({ profile, label: '', token: true });
  const lease = async (who: User): Promise<SessionReport> => {
    const { value, error } = await who.ask('lease', door, wish());
    return (value as SessionReport | undefined) ?? assert.fail(error);
  };
  const call = (...more: string[]): string =>
    [
      ...postLines('/mcp/chatty', [`Host: 127.0.0.1:${daemon().port}`, ...more], initialize),
      'Connection: close',
      '',
      initialize,
    ].join('\r\n');
  const said = async (who: User, to: string | number, bytes: string) =>
    parseReply(Buffer.from(String((await who.ask('connect', to, bytes)).value)));

  test('A17: an allowed user leases a session and uses its socket and its token', async () => {
    const session = await lease(the(a));
    assert.deepEqual(session.upstreams, ['chatty']);
    assert.equal((await said(the(a), session.socket, call())).status, 200);
    assert.equal(
      (await said(the(a), daemon().port, call(`Authorization: Bearer ${session.token}`))).status,
      200,
    );
    const opened = daemon()
      .audit()
      .find((one) => one.event === 'session.opened' && one.session === session.id);
    assert.ok(opened?.event === 'session.opened' && opened.uid === alice);
  });

  test('A17: it can read nothing of the daemon or of its upstreams', async () => {
    const session = await lease(the(a));
    assert.equal((await said(the(a), session.socket, call())).status, 200);
    const started = daemon()
      .audit()
      .findLast((one) => one.event === 'upstream.started');
    const child = started?.event === 'upstream.started' ? Number(started.pid) : assert.fail('no upstream');
    const { state } = daemon().home;
    for (const pid of [daemon().pid, child])
      for (const file of ['environ', 'mem', 'maps', 'auxv'])
        assert.match(
          (await the(a).ask('read', `/proc/${pid}/${file}`)).error ?? 'read',
          /EACCES|EPERM/,
          file,
        );
    for (const path of [
      `/proc/${daemon().pid}/fd`,
      `/proc/${child}/fd`,
      state,
      join(home.runtime, 'ostiary'),
    ])
      assert.equal((await the(a).ask('list', path)).error, 'EACCES', path);
    for (const file of ['vault.json', 'vault.key', 'audit.jsonl'])
      assert.equal((await the(a).ask('read', join(state, file))).error, 'EACCES', file);
    const control = await the(a).ask('connect', daemon().controlSocket, 'GET /v1/status HTTP/1.1\r\n\r\n');
    assert.equal(control.value, 'error EACCES');
  });

  test('B7: at agents.sock there is nothing but leases of one\u2019s own', async () => {
    const [mine, theirs] = await Promise.all([lease(the(a)), lease(the(o))]);
    for (const [status, line, body = ''] of [
      [404, 'GET /v1/status'],
      [404, 'GET /v1/sessions'],
      [404, `DELETE /v1/sessions/${mine.id}`],
      [404, `DELETE /v1/leases/${theirs.id}`],
      [404, 'POST /v1/environment', '{"env":{}}'],
      [404, 'GET /v1/audit/head'],
      [404, 'POST /v1/shutdown'],
      [404, 'POST /mcp/chatty', initialize],
      [404, 'POST /token'],
      [400, 'POST /v1/sessions', '{"profile":"default"}'],
      [404, 'POST /v1/sessions', '{"profile":"ours","lease":true}'],
      [404, 'POST /v1/sessions', '{"profile":"theirs","lease":true}'],
      [404, `POST /v1/sessions/${theirs.id}/bind`, `{"pid":${the(a).pid},"kind":"ancestry"}`],
      [400, `POST /v1/sessions/${mine.id}/bind`, '{"pid":"1","kind":"ancestry"}'],
      [400, `POST /v1/sessions/${mine.id}/bind`, '{"pid":1,"kind":"uid"}'],
    ] as const) {
      const head = `${line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n`;
      assert.equal((await said(the(a), door, head + body)).status, status, `${line} ${body}`);
    }
    assert.equal((await the(o).ask('lease', door, wish('theirs'))).error, undefined, 'who is listed may');
    const over = `DELETE /v1/leases/${theirs.id} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;
    assert.equal((await said(the(o), door, over)).status, 204, 'whose it is may');
  });

  test('B4: the session of one allowed user is refused to another, by socket and by token', async () => {
    const session = await lease(the(a));
    await lease(the(o));
    for (const [to, bytes] of [
      [session.socket, call()],
      [daemon().port, call(`Authorization: Bearer ${session.token}`)],
    ] as const) {
      const { status, body } = await said(the(o), to, bytes);
      assert.equal(status, 403, body);
      assert.match(body, /"peer_refused"/);
    }
  });

  test('B4: bound to processes of another uid than the daemon\u2019s', async () => {
    const session = await lease(the(a));
    const bound = await the(a).ask('bind', door, session.id, { pid: the(a).pid, kind: 'ancestry' });
    assert.deepEqual(bound, { value: { kind: 'ancestry', id: the(a).pid } });
    assert.equal((await said(the(a), session.socket, call())).status, 200, 'inside');
    const b = await user(shared, alice, keeper);
    assert.equal((await said(b, session.socket, call())).status, 403, 'outside, same user');
    const unseen = await the(a).ask('bind', door, (await lease(the(a))).id, {
      pid: the(a).pid,
      kind: 'pid-namespace',
    });
    assert.match(unseen.error ?? '', /no PID namespace of its own, or does not show it/);
  });

  test('B4: `session bind --daemon` binds a session of one\u2019s own, and nobody else\u2019s', async (t) => {
    const session = await lease(the(a));
    const bind = (uid: number) => {
      const args = [session.id, String(the(a).pid), '--kind', 'ancestry', '--daemon', door];
      return become(t, uid, keeper, [mainFile, 'session', 'bind', ...args], {});
    };
    const others = bind(other);
    assert.equal(await others.ended, 2);
    assert.match(others.stderr(), /no such session/);
    assert.equal(await bind(alice).line(), `bound to ancestry ${the(a).pid}`);
  });

  test('A17: who is not listed gets no byte, in the group of the sockets or not', async (t) => {
    const session = await lease(the(a));
    for (const [to, bytes] of [
      [door, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'],
      [session.socket, call()],
      [daemon().port, call(`Authorization: Bearer ${session.token}`)],
    ] as const)
      assert.match(
        String((await the(x).ask('connect', to, bytes)).value),
        /^(?:error (?:ECONNRESET|EPIPE))?$/,
      );
    await daemon().audited((one) => one.event === 'peer.refused' && one.uid === outsider);
    const stranger = await user(t, outsider, outsider);
    for (const path of [door, session.socket])
      assert.equal((await stranger.ask('connect', path, '')).value, 'error EACCES', path);
  });

  test('A17: `run --daemon` gives an agent its upstream, and it takes nothing else from there', async (t) => {
    const agent = `
      const { mcpServers } = JSON.parse(require('node:fs').readFileSync(process.env.OSTIARY_MCP_CONFIG));
      const { command, args } = mcpServers.chatty;
      const shim = require('node:child_process').spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
      const send = (message) => shim.stdin.write(JSON.stringify({ jsonrpc: '2.0', ...message }) + '\\n');
      require('node:readline').createInterface({ input: shim.stdout }).on('line', (line) => {
        const { id } = JSON.parse(line);
        if (id === 1) send({ method: 'notifications/initialized' }), send({ id: 2, method: 'tools/call', params: { name: 'pid' } });
        if (id === 2) console.log(line), shim.stdin.end(), process.exit(Object.keys(process.env).includes('TOKEN') ? 1 : 42);
      });
      send(${initialize});`;
    const { env, runtime, project, remove } = ownHome();
    t.after(remove);
    const args = [mainFile, 'run', '--daemon', door, '--', process.execPath, '-e', agent];
    const running = become(t, alice, keeper, args, env, project);
    assert.match(await running.line(), /"id":2,"result":\{"content":\[\{"type":"text","text":"\d+"/);
    assert.equal(await running.ended, 42, running.stderr());
    assert.match(running.stderr(), /level L2: secrets are with uid 2003/);
    assert.deepEqual(readdirSync(join(runtime, 'ostiary')), [], 'nothing of it is left');
  });

  test('A17: `run --daemon --http` gives an agent its upstream on loopback', async (t) => {
    const agent = `
      const { mcpServers } = JSON.parse(require('node:fs').readFileSync(process.env.OSTIARY_MCP_CONFIG));
      const { url, headersHelper } = mcpServers.chatty;
      const own = headersHelper ? JSON.parse(require('node:child_process').execSync(headersHelper)) : { Authorization: 'Bearer ' + process.env.OSTIARY_TOKEN };
      const headers = { ...own, 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
      fetch(url, { method: 'POST', headers, body: ${JSON.stringify(initialize)} }).then(({ status }) => console.log(status));`;
    const { env, project, remove } = ownHome();
    t.after(remove);
    const args = [mainFile, 'run', '--http', '--daemon', door, '--', process.execPath, '-e', agent];
    const running = become(t, alice, keeper, args, env, project);
    assert.equal(await running.line(), '200', running.stderr());
    assert.equal(await running.ended, 0);
  });

  test('A17: `run --daemon` says what it may be when the daemon cuts its user off', async (t) => {
    const { env, project, remove } = ownHome(outsider);
    t.after(remove);
    const args = [mainFile, 'run', '--daemon', door, '--isolation', 'none', '--', 'true'];
    const running = become(t, outsider, keeper, args, env, project);
    assert.equal(await running.ended, 4);
    assert.match(running.stderr(), /cannot reach the daemon: .*\n.*listen\.allow_uids/);
  });

  test('A17: when an agent is gone its session, socket and directory are', async () => {
    const gone = await user(shared, alice, keeper);
    const { id, socket } = await lease(gone);
    assert.ok(readdirSync(agents).includes(id));
    await gone.end();
    await daemon().audited((one) => one.event === 'session.closed' && one.session === id);
    await eventually('the end of its directory', () => !readdirSync(agents).includes(id));
    assert.match(String((await the(a).ask('connect', socket, call())).value), /^error/);
    assert.ok(!daemon().log().includes(secret));
  });
});
