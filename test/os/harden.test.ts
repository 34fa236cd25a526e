import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { HardeningReport } from '../../src/os/index.ts';
import { type As, canBecome, hasTool, type Running, run } from './support.ts';

const linux = { skip: process.platform === 'linux' ? false : 'Linux only' };
const BOB = 2001;
const CANARY = 'canary-harden-5f2a';

const PLAIN = `say('up'); process.stdin.resume();`;
const HARDENED = `
import inspector from 'node:inspector';
const { harden } = await import(env.OS);
harden();
const report = harden();
process.on('SIGUSR1', () => setImmediate(() => say(String(inspector.url()))));
process.stdin.resume();
say(JSON.stringify(report));
`;

async function started(t: TestContext, code: string, as: As): Promise<Running & { report: string }> {
  const running = run(t, code, as);
  return { ...running, report: await running.line() };
}

/** What a process of `uid` reads in `/proc/PID/<file>`. */
function readAs(uid: number, pid: number, file: string): { text: string; error: string } {
  const code = `try { process.stdout.write(require('node:fs').readFileSync(process.env.FILE)) }
    catch (error) { process.stderr.write(error.code) }`;
  const env = { FILE: `/proc/${pid}/${file}` };
  const reader = spawnSync(process.execPath, ['-e', code], {
    env,
    uid,
    gid: uid,
    cwd: '/',
    encoding: 'utf8',
  });
  return { text: reader.stdout, error: reader.stderr };
}

function scratch(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'ostiary-harden-'));
  t.after(() => rmSync(directory, { recursive: true }));
  chmodSync(directory, 0o777);
  return directory;
}

test('every measure is in force, and a second call changes nothing', linux, async (t) => {
  const { report } = await started(t, HARDENED, {});
  const names = (JSON.parse(report) as HardeningReport).map(
    ({ measure, inForce }) => `${measure} ${inForce}`,
  );
  assert.deepEqual(names, ['inspector true', 'undumpable true', 'core limit true', 'umask true']);
});

test('an inspector that is open already is reported', linux, async (t) => {
  const { report } = await started(t, HARDENED, { env: { NODE_OPTIONS: '--inspect=127.0.0.1:0' } });
  const [inspector] = JSON.parse(report) as HardeningReport;
  assert.equal(inspector?.inForce, false);
  assert.match(inspector?.detail ?? '', /already open/);
});

test('another process of the same uid reads no environment and no memory map', linux, async (t) => {
  if (!canBecome(t, BOB)) return;
  const as = { uid: BOB, env: { CANARY } };
  const plain = await started(t, PLAIN, as);
  assert.ok(readAs(BOB, plain.pid, 'environ').text.includes(CANARY), 'an unhardened process would show it');

  const hardened = await started(t, HARDENED, as);
  for (const file of ['environ', 'maps', 'mem']) {
    const { text, error } = readAs(BOB, hardened.pid, file);
    assert.equal(text, '');
    assert.equal(error, 'EACCES');
  }
});

test('SIGUSR1 opens no inspector', linux, async (t) => {
  const plain = await started(t, PLAIN, {});
  const opened = new Promise<void>((resolve) => plain.child.stderr.on('data', () => resolve()));
  plain.child.kill('SIGUSR1');
  await opened;
  assert.match(plain.stderr(), /Debugger listening/, 'an unhardened process would open it');

  const hardened = await started(t, HARDENED, {});
  hardened.child.kill('SIGUSR1');
  assert.equal(await hardened.line(), 'undefined');
  hardened.child.stdin.end();
  assert.equal(await hardened.ended, 0);
  assert.equal(hardened.stderr(), '');
});

test('its core limit cannot be raised by its own uid, and SIGABRT leaves no core', linux, async (t) => {
  if (!canBecome(t, BOB) || !hasTool(t, 'prlimit')) return;
  const pattern = readFileSync('/proc/sys/kernel/core_pattern', 'latin1');
  if (/^[|/@]/.test(pattern)) return t.skip(`cores go elsewhere: ${pattern.trim()}`);
  const raise = (pid: number) =>
    spawnSync('prlimit', ['--pid', String(pid), '--core=unlimited'], { uid: BOB, gid: BOB }).status === 0;

  const cwd = scratch(t);
  const hardened = await started(t, HARDENED, { uid: BOB, cwd });
  assert.equal(raise(hardened.pid), false);
  hardened.child.kill('SIGABRT');
  assert.equal(await hardened.ended, 'SIGABRT');
  assert.deepEqual(readdirSync(cwd), []);

  const plainCwd = scratch(t);
  const plain = await started(t, PLAIN, { uid: BOB, cwd: plainCwd });
  if (!raise(plain.pid)) return t.diagnostic('no control: the hard core limit is 0 here anyway');
  plain.child.kill('SIGABRT');
  await plain.ended;
  assert.equal(readdirSync(plainCwd).length, 1, 'an unhardened process would leave one');
});
