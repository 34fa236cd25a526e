/** B4: a session that is bound to a sandbox is of no use outside of it, to the same user with its token or socket. */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { type Ends, osModule, type Running, start } from '../os/support.ts';
import type { Address } from '../support/client.ts';
import { eventually, mainFile, portOf, sharedDaemon, socketOf, type TestSession } from '../support/daemon.ts';
import { fixtureServer } from '../support/servers.ts';
import { stranger } from '../support/users.ts';
import { initialize, parseReply, postLines, type RawReply } from './support.ts';

const root = process.getuid?.() === 0;
/** Never root, from whom nothing is hidden. */
const uid = root ? stranger : (process.getuid?.() ?? -1);

/** Makes one connection for each line of its input, and prints what came back. Says "ready" first. */
const CLIENT = `
const net = require('node:net');
console.log('ready');
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { address, bytes, hold } = JSON.parse(line);
  const socket = address.port === undefined ? net.connect(address.socketPath) : net.connect(address.port, '127.0.0.1');
  const chunks = [];
  const tell = () => console.log(Buffer.concat(chunks.splice(0)).toString('base64'));
  socket.on('connect', () => socket.write(Buffer.from(bytes, 'base64')));
  socket.on('data', (chunk) => { chunks.push(chunk); if (hold) tell(); });
  socket.on('error', ({ code }) => chunks.push(Buffer.from(code)));
  socket.on('close', () => hold ? console.log('closed') : tell());
});`;
const client = [process.execPath, '-e', CLIENT] as const;
/** The same, unreadable for its own user first. */
const HIDDEN = `import(process.env.OS).then(({ hide }) => { hide(); ${CLIENT} });`;
/** Makes itself the reaper of what its children leave behind, as \`run\` does, and starts the client by a double fork. */
const SUBREAPER = `
const { native } = await import(process.env.NATIVE);
const { spawn } = await import('node:child_process');
native.prctl(36, 'ulong', 1);
spawn('/bin/sh', ['-c', 'setsid "$0" "$@" <&3 & exit 0', ...process.argv.slice(1)], { stdio: ['ignore', 'inherit', 'inherit', 0] });
setInterval(() => {}, 1000);`;
const native = new URL('../../src/os/native.js', import.meta.url).href;
/** The owner's end of the control plane: one call for each line. */
const OWNER = `
const { ControlClient } = await import(process.env.CONTROL);
const { createInterface } = await import('node:readline');
const control = new ControlClient(process.env.SOCKET);
console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  const [call, ...args] = JSON.parse(line);
  const said = await control[call](...args).catch(({ message }) => ({ message }));
  console.log(JSON.stringify(said));
}`;
const controlModule = new URL('../../src/cli/control.js', import.meta.url).href;

const bwrap =
  'bwrap --ro-bind / / --dev /dev --proc /proc --unshare-user --unshare-pid --die-with-parent'.split(' ');
const nested = 'unshare --user --map-root-user --pid --fork --kill-child'.split(' ');
const sandboxes = { bubblewrap: bwrap, unshare: [...nested, '--mount-proc'] };

const identity = root ? { uid, gid: uid } : {};

function works([file = '', ...args]: readonly string[]): boolean {
  return spawnSync(file, [...args, 'true'], { cwd: '/', ...identity }).status === 0;
}

async function ready(
  t: Ends,
  [file = '', ...args]: readonly string[],
  env: Record<string, string> = {},
): Promise<Running> {
  const running = start(t, file, args, { uid, env: { NATIVE: native, ...env } });
  assert.equal(await running.line(), 'ready');
  return running;
}

function order(running: Running, address: Address, bytes: string, hold = false): void {
  const text = JSON.stringify({ address, bytes: Buffer.from(bytes).toString('base64'), hold });
  running.child.stdin.write(`${text}\n`);
}

async function reply(running: Running): Promise<RawReply> {
  return parseReply(Buffer.from(await running.line(), 'base64'));
}

/** The first process of the sandbox that `pid` started and waits for. */
function firstChild(pid: number): Promise<number> {
  return eventually(
    'a child',
    () => Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ')[0]) || null,
  );
}

const unable =
  process.platform !== 'linux'
    ? 'needs Linux'
    : !works([process.execPath, '-e', `import('${osModule}').catch(() => process.exit(1))`]) &&
      `uid ${uid} cannot run this build`;

describe('B4 bound sessions', { skip: unable }, () => {
  const daemon = sharedDaemon({ config: { upstreams: { chatty: fixtureServer('chatty') } }, uid });

  const cli = async (...args: string[]): Promise<string> => {
    const { env } = daemon().home;
    const options = { cwd: '/', env, ...identity };
    return (await promisify(execFile)(process.execPath, [mainFile, ...args], options)).stdout;
  };
  let owner: Running | undefined;
  const ends: (() => Promise<void>)[] = [];
  after(() => Promise.all(ends.map((end) => end())));
  before(async () => {
    const env = { CONTROL: controlModule, SOCKET: daemon().controlSocket };
    owner = await ready(
      { after: (end) => void ends.push(end) },
      [process.execPath, '--input-type=module', '-e', OWNER],
      env,
    );
  });
  const control = async <T>(...call: readonly unknown[]): Promise<T> => {
    owner?.child.stdin.write(`${JSON.stringify(call)}\n`);
    const said = JSON.parse((await owner?.line()) ?? 'null') as T & { message?: string };
    if (said.message !== undefined) throw new Error(said.message);
    return said;
  };
  const newSession = (): Promise<TestSession> =>
    control('openSession', { profile: 'default', label: '', token: true, lease: false });
  const bind = ({ id }: Pick<TestSession, 'id'>, pid: number, kind: string): Promise<unknown> =>
    control('bindSession', id, { pid, kind });

  /** Every way to use a session: the port with its token, its socket, and the socket for another token. */
  const ways = (session: TestSession, connection = 'close'): [way: string, Address, bytes: string][] => {
    const host = `Host: 127.0.0.1:${daemon().port}`;
    const end = [`Connection: ${connection}`, '', ''].join('\r\n');
    const call = (...more: string[]): string =>
      [...postLines('/mcp/chatty', [host, ...more], initialize), end + initialize].join('\r\n');
    return [
      ['token', portOf(daemon()), call(`Authorization: Bearer ${session.token}`)],
      ['socket', socketOf(session), call()],
      ['another token', socketOf(session), ['POST /token HTTP/1.1', host, end].join('\r\n')],
    ];
  };
  const admitted = async (who: Running, session: TestSession, what: string): Promise<void> => {
    for (const [way, address, bytes] of ways(session)) {
      order(who, address, bytes);
      const { status, body } = await reply(who);
      assert.equal(status, 200, `${what}, ${way}: ${body}`);
    }
  };
  const refused = async (who: Running, session: TestSession, what: string): Promise<void> => {
    for (const [way, address, bytes] of ways(session)) {
      order(who, address, bytes);
      const { status, body } = await reply(who);
      assert.equal(status, 403, `${what}, ${way}: ${body}`);
      assert.match(body, /"outside_binding"/, `${what}, ${way}`);
    }
  };

  for (const [name, sandbox] of Object.entries(sandboxes))
    test(`B4: PID namespace of ${name}: a session works inside and below it, and nowhere else`, async (t) => {
      if (!works(sandbox)) return t.skip(`${name} does not work here`);
      const session = await newSession();
      const [inside, outside, elsewhere] = await Promise.all([
        ready(t, [...sandbox, ...client]),
        ready(t, client),
        ready(t, [...sandbox, ...client]),
      ]);
      await admitted(outside, session, 'before it is bound');
      const early = await ready(t, client);
      for (const [, address, bytes] of ways(session, 'keep-alive').slice(0, 2)) {
        order(early, address, bytes, true);
        assert.equal((await reply(early)).status, 200);
      }
      await bind(session, await firstChild(inside.pid), 'pid-namespace');
      for (let i = 0; i < 2; i++) assert.equal(await early.line(), 'closed', 'what had connected before');
      await admitted(inside, session, 'inside');
      await refused(outside, session, 'outside');
      await refused(elsewhere, session, 'in another sandbox');
      const records = () =>
        daemon()
          .audit()
          .filter((one) => one.event === 'binding.refused');
      const record = await eventually('the pid of a thief', () =>
        records().find((one) => one.session === session.id && one.pid !== undefined),
      );
      assert.ok(record.uid === uid && record.count >= 1);
      assert.match(await cli('session', 'list'), new RegExp(`${session.id}.* and pid-namespace \\d+ `));
      await assert.rejects(bind(session, inside.pid, 'ancestry'), /bound already/, 'once and for good');
    });

  test('B4: a sandbox within the sandbox is inside, one beside it is not', async (t) => {
    const sandbox = works(bwrap) ? bwrap : sandboxes.unshare;
    if (!works([...sandbox, ...nested])) return t.skip('no nested user namespaces here');
    const session = await newSession();
    const deep = await ready(t, [...sandbox, ...nested, ...client]);
    await bind(session, await firstChild(deep.pid), 'pid-namespace');
    await admitted(deep, session, 'nested');
  });

  test('B4: below a process: a double fork stays inside, the one above it is outside', async (t) => {
    const session = await newSession();
    const outside = await ready(t, client);
    const inside = await ready(t, [process.execPath, '--input-type=module', '-e', SUBREAPER, ...client]);
    await bind(session, inside.pid, 'ancestry');
    await admitted(inside, session, 'orphaned below it');
    await refused(outside, session, 'beside it');
    await assert.rejects(bind(session, 1, 'ancestry'), /bound already/);
  });

  test('B4: who hides its descriptors cannot prove whose a connection on TCP is', async (t) => {
    const session = await newSession();
    const hidden = await ready(t, [process.execPath, '-e', HIDDEN], { OS: osModule });
    await bind(session, hidden.pid, 'ancestry');
    const statuses: number[] = [];
    for (const [, address, bytes] of ways(session)) {
      order(hidden, address, bytes);
      statuses.push((await reply(hidden)).status);
    }
    assert.deepEqual(statuses, [403, 200, 200], 'by token; by socket the kernel names its process');
  });

  test('B4: control group: a session works in it and below it alone', async (t) => {
    const mount = /^\S+ \S+ \S+ \/ (\S+) [^\n]* - cgroup2 /m.exec(
      readFileSync('/proc/self/mountinfo', 'utf8'),
    );
    const group = `${mount?.[1]}/ostiary-test-${process.pid}`;
    if (!root || mount === null) return t.skip('needs root and a version 2 hierarchy');
    try {
      mkdirSync(`${group}/below`, { recursive: true });
    } catch (error) {
      return t.skip(`no control group can be made here: ${error}`);
    }
    t.after(async () => {
      for (const path of [`${group}/below`, group])
        if (existsSync(path))
          await eventually('the end of the group', () => {
            try {
              rmdirSync(path);
              return true;
            } catch {
              return false;
            }
          });
    });
    const session = await newSession();
    const [inside, below, outside] = await Promise.all([
      ready(t, client),
      ready(t, client),
      ready(t, client),
    ]);
    await assert.rejects(bind(session, outside.pid, 'cgroup'), /no version 2 control group of its own/);
    writeFileSync(`${group}/cgroup.procs`, String(inside.pid));
    writeFileSync(`${group}/below/cgroup.procs`, String(below.pid));
    await bind(session, inside.pid, 'cgroup');
    await admitted(inside, session, 'in it');
    await admitted(below, session, 'below it');
    await refused(outside, session, 'outside');
    for (const { child, ended } of [inside, below]) {
      child.kill('SIGKILL');
      await ended;
    }
  });

  test('B4: what proves nothing is bound to nothing', async (t) => {
    const session = await newSession();
    const outside = await ready(t, client);
    await assert.rejects(bind(session, outside.pid, 'pid-namespace'), /no PID namespace of its own/);
    await assert.rejects(bind(session, 2 ** 22 + 1, 'ancestry'), /has gone/);
    await assert.rejects(bind({ id: 'f'.repeat(32) }, outside.pid, 'ancestry'), /no such session/);
    await admitted(outside, session, 'still bound to the uid alone');
    await bind(session, outside.pid, 'ancestry');
    await admitted(outside, session, 'bound to itself');
    outside.child.kill('SIGKILL');
    await outside.ended;
    await refused(await ready(t, client), session, 'after its process has ended');
  });
});
