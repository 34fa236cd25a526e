/**
 * A write of the vault that is cut short at each of its system calls: by a kill, with half of a write done, and by an
 * error. What is left opens, with the old contents or the new ones, and the next write clears what was left lying about.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cpSync, readdirSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { describe, type TestContext, test } from 'node:test';
import { reveal } from '../../src/credentials/reveal.ts';
import { Vault } from '../../src/credentials/vault.ts';
import { canary, directory, now, seal, toNobody, writeCredential } from './support.ts';

type Operation = 'rotate' | 'rewrap to a file' | 'rewrap to a credential' | 'restore';

/**
 * Does `OPERATION` in each of the directories `STATES`; in the one at index i the system call number `FIRST` + i, counted
 * from the first temporary file on, does not happen. Prints how each ended and how many calls there were. Node's own
 * functions are replaced, so the code under test is as it is; only what is done in the vault's directory counts, for
 * some Nodes load modules through the same functions.
 */
const driver = `
  import fs from 'node:fs';
  import { syncBuiltinESMExports } from 'node:module';
  const { STATES, OPERATION, FIRST, MODE, ROOM, VALUE, CREDENTIALS, CODE } = process.env;
  const [{ Vault }, { Secret }, { decodeRecoveryCode }] = await Promise.all(
    ['vault', 'secret', 'vault-recovery'].map((name) => import(ROOM + 'credentials/' + name + '.js')));
  let calls, armed, fault, directory;
  const descriptors = new Set();
  for (const name of ['openSync', 'writeSync', 'fsyncSync', 'closeSync', 'renameSync', 'rmSync']) {
    const real = fs[name];
    fs[name] = (...args) => {
      const [what] = args;
      if (!descriptors.has(what) && !String(what).startsWith(directory)) return real(...args);
      if (name === 'closeSync') descriptors.delete(what);
      armed ||= name === 'openSync' && what.endsWith('.tmp');
      if (!armed || ++calls !== fault) {
        const result = real(...args);
        if (name === 'openSync') descriptors.add(result);
        return result;
      }
      if (name === 'writeSync') real(args[0], args[1].subarray(0, args[1].length / 2), 0);
      if (MODE === 'kill') process.kill(process.pid, 'SIGKILL');
      // Linux closes the descriptor even when it reports an error.
      if (name === 'closeSync') real(...args);
      throw Object.assign(new Error('injected'), { code: MODE });
    };
  }
  syncBuiltinESMExports();
  const work = async (state) => {
    if (OPERATION === 'restore') return Vault.restore(state, decodeRecoveryCode(CODE), { kind: 'key-file' });
    const vault = await Vault.open(state, {});
    if (OPERATION === 'rotate') return vault.rotate('token', Secret.seal('x', Buffer.from(VALUE)), new Date());
    return vault.rewrap(OPERATION.endsWith('file') ? { kind: 'key-file' }
      : { kind: 'systemd-credential', credentials: CREDENTIALS }, {});
  };
  const reports = [];
  for (const [index, state] of JSON.parse(STATES).entries()) {
    [calls, armed, fault, directory] = [0, false, Number(FIRST) + index, state];
    const code = await work(state).then(() => null, (error) => error.code ?? String(error));
    reports.push({ code, calls });
  }
  console.log(JSON.stringify(reports));`;

interface Rig {
  readonly template: string;
  readonly credentials: string;
  readonly old: string;
  readonly fresh: string;
  readonly code: string;
}

async function rig(t: TestContext): Promise<Rig> {
  const [template, credentials, old] = [directory(t), directory(t), canary()];
  writeCredential(credentials);
  const vault = await Vault.create(template, { kind: 'key-file' });
  await vault.set('token', seal(old), now);
  return { template, credentials, old, fresh: canary(), code: vault.recoveryCode().join('\n') };
}

type Mode = 'kill' | 'EIO' | 'ENOSPC';

interface Report {
  /** Of the error that came out; `null`: it succeeded. */
  readonly code: string | null;
  readonly calls: number;
}

/** One process; no reports when it was killed. */
async function attempt(
  from: Rig,
  operation: Operation,
  mode: Mode,
  first: number,
  states: readonly string[],
): Promise<Report[]> {
  for (const state of states) cpSync(from.template, state, { recursive: true });
  const child = spawn(process.execPath, ['--input-type=module', '-e', driver], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      STATES: JSON.stringify(states),
      OPERATION: operation,
      FIRST: String(first),
      MODE: mode,
      ROOM: new URL('../../src/', import.meta.url).href,
      VALUE: from.fresh,
      CREDENTIALS: from.credentials,
      CODE: from.code,
    },
  });
  const out = await text(child.stdout);
  return out === '' ? [] : JSON.parse(out);
}

/** Opens what was left, in whichever way its key is kept now; the value that it holds. */
async function valueIn(state: string, { credentials }: Rig): Promise<string> {
  const vault = await Vault.open(state, { credentials });
  const secret = await vault.get('token', toNobody);
  assert.ok(secret !== null, 'the entry is there');
  return reveal(secret, 'test').toString();
}

async function check(from: Rig, operation: Operation, state: string, where: string): Promise<void> {
  const value = await valueIn(state, from);
  assert.ok(value === from.old || (operation === 'rotate' && value === from.fresh), `${where}: old or new`);
  const vault = await Vault.open(state, { credentials: from.credentials });
  await vault.rewrap({ kind: 'key-file' }, {});
  assert.deepEqual(
    readdirSync(state).sort(),
    ['vault.json', 'vault.key', 'vault.lock'],
    `${where}: nothing is left over after the next write`,
  );
  assert.ok(value === (await valueIn(state, from)), where);
}

/** Two at a time, as many as processors. */
async function each<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items];
  const worker = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) await work(next);
  };
  await Promise.all([worker(), worker()]);
}

async function everyCall(t: TestContext, operation: Operation, mode: Mode): Promise<void> {
  const from = await rig(t);
  const [whole] = await attempt(from, operation, mode, 0, [directory(t)]);
  assert.ok(whole !== undefined && whole.code === null);
  assert.ok(whole.calls >= 8, `open, write, fsync, close, rename and the directory's: ${whole.calls}`);
  const states = Array.from({ length: whole.calls }, () => directory(t));
  if (mode === 'kill')
    await each([...states.entries()], async ([index, state]) => {
      const reports = await attempt(from, operation, mode, index + 1, [state]);
      assert.deepEqual(reports, [], `${operation}: killed at ${index + 1}`);
    });
  else {
    const reports = await attempt(from, operation, mode, 1, states);
    for (const [index, { code }] of reports.entries())
      assert.ok(code?.includes(mode), `${operation}: the error at ${index + 1} is told`);
    assert.equal(reports.length, states.length);
  }
  for (const [index, state] of states.entries())
    await check(from, operation, state, `${operation}, ${mode} at ${index + 1}`);
}

describe('a vault whose writer is stopped at each system call', { concurrency: false }, () => {
  test('killed while a value is replaced', (t) => everyCall(t, 'rotate', 'kill'));
  test('killed while the key is changed, in its file', (t) => everyCall(t, 'rewrap to a file', 'kill'));
  test('killed while the key moves from its file', (t) => everyCall(t, 'rewrap to a credential', 'kill'));
  test('the disk is full while a value is replaced', (t) => everyCall(t, 'rotate', 'ENOSPC'));
  test('the disk fails while the key is changed, in its file', (t) =>
    everyCall(t, 'rewrap to a file', 'EIO'));
  test('the disk fails during a restore', (t) => everyCall(t, 'restore', 'EIO'));
});
