/**
 * A1 to A10 and F6 against upstreams of an ordinary user, by another process of the same user: with a namespace, and
 * without one, where a user is in one group alone or there is no bubblewrap.
 */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { bubblewrap } from '../../src/os/index.ts';
import { canBecome, run } from '../os/support.ts';
import { eventually, mainFile, makeHome, startDaemon, type TestDaemon } from '../support/daemon.ts';
import { commandLine, familyOf } from '../support/family.ts';
import { canary } from '../support/leaks.ts';
import { fixtureServer } from '../support/servers.ts';
import { stranger } from '../support/users.ts';
import { attackAs, type Outcomes, watchedBy } from './same-user.ts';

const kin = fixtureServer('kin');
const [script = ''] = kin.args;
/** Whoever opens an inspector after all does not find its port taken. */
const anyPort = '--inspect-port=0';

/** What is refused to everybody of the user; arguments are open and say nothing. */
const closed: Outcomes = {
  'A1 environ': 'denied',
  'A1 ps eww': 'denied',
  'A3 mem': 'denied',
  'A3 process_vm_readv': 'denied',
  'A3 ptrace': 'denied',
  'A4 fd': 'denied',
  'A4 pidfd_getfd': 'denied',
  'A5 cmdline': 'open',
};

async function call(daemon: TestDaemon, upstream: string, tool: string, args: object = {}): Promise<string> {
  const command = [mainFile, 'call', upstream, tool, JSON.stringify(args)];
  const as = { env: daemon.home.env, cwd: '/', uid: stranger, gid: stranger };
  const { stdout } = await promisify(execFile)(process.execPath, command, as);
  return (JSON.parse(stdout) as { content: { text: string }[] }).content[0]?.text ?? '';
}

interface Status {
  readonly running: readonly number[];
  readonly hardening: readonly { readonly measure: string; readonly inForce: boolean }[];
}

async function statusOf(daemon: TestDaemon): Promise<readonly [Status, Status]> {
  const as = { env: daemon.home.env, cwd: '/', uid: stranger, gid: stranger };
  const { stdout } = await promisify(execFile)(process.execPath, [mainFile, 'status', '--json'], as);
  const [first, second] = (JSON.parse(stdout) as { upstreams: Status[] }).upstreams;
  assert.ok(first !== undefined && second !== undefined);
  return [first, second];
}

/** By what they run: the server, bubblewrap's own processes, the server's shell, and the two programs. */
function sorted({ running }: Status): Record<'server' | 'bwrap' | 'shell' | 'sleep', number[]> {
  const family = running.flatMap(familyOf);
  const by = (is: (argv: readonly string[]) => boolean): number[] =>
    family.filter((pid) => is(commandLine(pid)));
  const bwrap = by(([command = '']) => command.endsWith('/bwrap'));
  return {
    bwrap,
    server: by((argv) => argv.includes(script)).filter((pid) => !bwrap.includes(pid)),
    shell: by(([command]) => command === '/bin/sh').filter((pid) => !bwrap.includes(pid)),
    sleep: by(([command]) => command === 'sleep'),
  };
}

/** The ports on which a process listens. As root. */
function listening(pid: number): string[] {
  const sockets = readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? [];
    } catch {
      return [];
    }
  });
  const rows = readFileSync('/proc/net/tcp', 'utf8').split('\n').slice(1);
  return rows
    .map((row) => row.trim().split(/\s+/))
    .filter(([, , , state, , , , , , inode = '']) => state === '0A' && sockets.includes(inode))
    .map(([, local = '']) => local);
}

async function rig(t: TestContext, groups: readonly number[]) {
  const secret = canary('kin');
  const upstream = {
    ...kin,
    args: [anyPort, script],
    lifecycle: 'shared',
    era: 'legacy',
    secrets: { TOKEN: 'vault:kin' },
  };
  const config = { upstreams: { kin: upstream, other: upstream } };
  const home = makeHome();
  const credentials = join(home.directory, 'credentials');
  const daemon = await startDaemon(t, {
    home,
    uid: stranger,
    groups,
    config,
    secrets: { kin: secret.value },
    env: { CREDENTIALS_DIRECTORY: credentials },
    prepare: () => {
      mkdirSync(credentials, { mode: 0o700 });
      writeFileSync(join(credentials, 'ostiary-vault'), 'x', { mode: 0o400 });
      for (const path of [join(credentials, 'ostiary-vault'), credentials])
        chownSync(path, stranger, stranger);
      chmodSync(credentials, 0o500);
    },
  });
  assert.equal(await call(daemon, 'kin', 'hello'), 'hello');
  return { daemon, secret };
}

/** F6: what `other` sees of `kin`. */
async function lookAround(daemon: TestDaemon, pid: number) {
  const { directory, state, runtime } = daemon.home;
  const directories = [state, join(runtime, 'ostiary', 'work'), join(directory, 'credentials')];
  return JSON.parse(await call(daemon, 'other', 'look', { pid, directories })) as {
    processes: number;
    signal: unknown;
    environ: unknown;
    memory: unknown;
    directories: readonly (readonly string[])[];
  };
}

/** A6: the signal that opens the inspector of a Node process, to a server of ours and to a Node as it is. */
async function signalled(t: TestContext, daemon: TestDaemon, server: number): Promise<void> {
  const bare = spawn(process.execPath, [anyPort, '-e', 'console.log(1); setInterval(() => {}, 1e6)'], {
    uid: stranger,
    gid: stranger,
    env: {},
    cwd: '/',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  t.after(() => bare.kill('SIGKILL'));
  await once(bare.stdout, 'data');
  const attacker = run(
    t,
    `for (const pid of JSON.parse(env.PIDS)) process.kill(pid, 'SIGUSR1'); say('sent');`,
    {
      uid: stranger,
      env: { PIDS: JSON.stringify([server, bare.pid]) },
    },
  );
  await attacker.line();
  await eventually('the inspector of a Node as it is', () => listening(bare.pid ?? 0).length > 0);
  assert.equal(await call(daemon, 'kin', 'hello'), 'hello', 'it lives, and its loop has turned');
  assert.deepEqual(listening(server), []);
}

describe('upstreams of an ordinary user, attacked as that user', { concurrency: 2 }, () => {
  test('A1 A3 A4 A5 A6 A7 A9 F6: with a namespace', async (t) => {
    const found = await bubblewrap();
    if ('missing' in found) return t.skip(found.missing);
    if (!canBecome(t, stranger)) return;
    const { daemon, secret } = await rig(t, [3000]);
    const [status] = await statusOf(daemon);
    assert.deepEqual(
      status.hardening.filter(({ inForce }) => !inForce),
      [],
    );
    const { server, bwrap, shell, sleep } = sorted(status);
    assert.deepEqual([server.length, bwrap.length, shell.length, sleep.length], [1, 2, 1, 2]);
    const mark = secret.value.slice(0, 12);
    const outcomes = await attackAs(t, stranger, [...server, ...shell, ...bwrap, ...sleep], mark);
    assert.deepEqual(outcomes.slice(0, 2), [closed, closed], 'the server, and a shell that it starts (A9)');
    for (const each of outcomes.slice(2, 4))
      assert.ok(!Object.values(each).includes('LEAK'), 'what can be read of bubblewrap holds no secret');
    assert.equal(
      outcomes[4]?.['A1 environ'],
      'LEAK',
      'A9: a readable program that it starts is known to leak',
    );
    assert.match(readFileSync(`/proc/${server[0]}/limits`, 'utf8'), /Max core file size +0 +0 /, 'A7');
    assert.match(readFileSync(`/proc/${server[0]}/status`, 'utf8'), /NoNewPrivs:\s1/);
    await signalled(t, daemon, server[0] ?? 0);
    const seen = await lookAround(daemon, server[0] ?? 0);
    assert.ok(seen.processes <= 6, 'its own family');
    assert.deepEqual([seen.signal, seen.environ, seen.memory], ['ESRCH', 'ENOENT', 'ENOENT']);
    assert.deepEqual(seen.directories[0], [], 'no vault, no key, no log');
    assert.equal(seen.directories[1]?.length, 1, 'no directory but its own');
    assert.deepEqual(seen.directories[2], [], 'no credential that systemd gave to the daemon');
  });

  test('A1 A3 A4 A5 A6 A7 A9 F6: without a namespace', async (t) => {
    if (!canBecome(t, stranger)) return;
    const { daemon, secret } = await rig(t, []);
    const [status] = await statusOf(daemon);
    assert.deepEqual(
      status.hardening.filter(({ inForce }) => !inForce).map(({ measure }) => measure),
      ['namespace'],
    );
    const { server, shell } = sorted(status);
    const mark = secret.value.slice(0, 12);
    const [ofServer, ofShell] = await attackAs(t, stranger, [...server, ...shell], mark);
    assert.deepEqual(ofServer, closed);
    assert.equal(ofShell?.['A1 environ'], 'LEAK', 'A9: what it starts is known to leak');
    assert.match(readFileSync(`/proc/${server[0]}/limits`, 'utf8'), /Max core file size +0 +0 /, 'A7');
    assert.match(readFileSync(`/proc/${server[0]}/status`, 'utf8'), /NoNewPrivs:\s1/);
    await signalled(t, daemon, server[0] ?? 0);
    const seen = await lookAround(daemon, server[0] ?? 0);
    assert.deepEqual([seen.environ, seen.memory], ['EACCES', 'EACCES']);
    assert.equal(seen.signal, true, 'known: it may signal what is of its user');
    assert.ok((seen.directories[0]?.length ?? 0) > 0, 'known: the vault and its key are files of its user');
  });
});

/** Starts a program 60 times, as the daemon would, with the mark in its environment. */
const STARTS = `
const { Hardener, commandOf } = await import(env.HARDENER);
const { launch } = await import(env.LAUNCH);
const guard = { guardGroup() {}, releaseGroup() {} };
const hardener = new Hardener({ stateDirectory: env.STATE, otherDirectories: [] });
const program = { command: '/usr/bin/sleep', args: ['0.03'], hardening: env.HARDENING, env: {}, variables: ['TOKEN'], descriptors: 0, needs: [] };
const plan = await hardener.plan(program);
fs.mkdirSync(env.STATE + '/own', { recursive: true });
say(JSON.stringify(plan.measures.filter(({ inForce }) => inForce).map(({ measure }) => measure)));
const secret = await new Promise((resolve) => process.stdin.once('data', (data) => resolve(String(data).trim())));
let codes = new Set();
for (let i = 0; i < 60; i++)
  codes.add(await new Promise((resolve) => {
    const own = env.STATE + '/own';
    const { argv0, ...command } = commandOf(plan, own, own);
    const nothing = () => {};
    launch(
      { name: 'x', ...command, ...(argv0 === null ? {} : { argv0 }), env: { TOKEN: secret }, cwd: own, inNamespace: plan.namespace !== null },
      { onLine: nothing, onOversize: nothing, onStderr: nothing, onDrain: nothing, onExit: ({ code }) => resolve(code) },
      { guard },
    );
  }));
say(JSON.stringify([...codes]));
process.exit();
`;

const module = (path: string): string => new URL(`../../src/upstreams/${path}`, import.meta.url).href;

async function starts(t: TestContext, hardening: string): Promise<{ hits: number; measures: string[] }> {
  const home = makeHome();
  t.after(() => rmSync(home.directory, { recursive: true, force: true }));
  for (const path of ['', 's']) chownSync(join(home.directory, path), stranger, stranger);
  const secret = canary('start');
  const mark = secret.value.slice(0, 12);
  const starter = run(t, STARTS, {
    uid: stranger,
    env: {
      HARDENER: module('hardening/hardener.js'),
      LAUNCH: module('stdio/launch.js'),
      STATE: join(home.directory, 's'),
      HARDENING: hardening,
    },
  });
  const measures = JSON.parse(await starter.line()) as string[];
  const hits = await watchedBy(t, stranger, mark, async () => {
    starter.child.stdin.write(`${secret.value}\n`);
    assert.equal(await starter.line(), '[0]');
  });
  return { hits, measures };
}

test('A10: a tight loop over all environments sees the secret in 0 of 60 starts, and often in those of a readable program', async (t) => {
  if (!canBecome(t, stranger)) return;
  const hardened = await starts(t, 'process');
  assert.ok(hardened.measures.includes('unreadable'));
  assert.equal(hardened.hits, 0);
  const naive = await starts(t, 'off');
  assert.ok(naive.hits > 10, `${naive.hits} of 60`);
});
