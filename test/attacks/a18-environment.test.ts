/**
 * A18: `ostiary run` in an environment that holds a secret, as in a CI job. The agent, an ordinary user of the same uid,
 * reads every environment and command line that the kernel lets it read.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chownSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { finished } from '../e2e/home.ts';
import { canBecome, run } from '../os/support.ts';
import { eventually, type Home, mainFile, makeHome, startDaemon } from '../support/daemon.ts';
import { type Canary, canary, scanForLeaks } from '../support/leaks.ts';
import { fixtureServer } from '../support/servers.ts';

const skip = process.platform !== 'linux' && 'needs /proc';
const user = 2001;

/** Opens the upstream by the shim, so that everything runs, then says which processes show the half-named canary. */
const AGENT = `
import { spawn } from 'node:child_process';
import fs from 'node:fs';
const { command, args } = Object.values(JSON.parse(fs.readFileSync(process.env.OSTIARY_MCP_CONFIG)).mcpServers)[0];
const shim = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'a', version: '0' } };
shim.stdin.write(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params }) + '\\n');
await new Promise((resolve) => shim.stdout.once('data', resolve));
const needle = 'canary-' + 'a18-';
const found = [];
const unreadable = [];
for (const pid of fs.readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name)))
  for (const file of ['environ', 'cmdline'])
    try {
      if (fs.readFileSync('/proc/' + pid + '/' + file).includes(needle)) found.push(Number(pid));
    } catch (error) {
      if (Number(pid) === process.ppid) unreadable.push(file + ' ' + error.code);
    }
console.log(JSON.stringify({ found, unreadable, ppid: process.ppid }));
shim.stdin.end();
`;

function configure(home: Home, config: object, uid: number): void {
  mkdirSync(dirname(home.configFile), { recursive: true, mode: 0o700 });
  writeFileSync(home.configFile, JSON.stringify({ version: 1, ...config }), { mode: 0o600 });
  const all = readdirSync(home.directory, { recursive: true }).map((name) =>
    join(home.directory, String(name)),
  );
  for (const path of [home.directory, ...all]) chownSync(path, uid, uid);
}

interface Said {
  readonly found: number[];
  readonly unreadable: string[];
  readonly ppid: number;
}

async function runAgent(
  t: TestContext,
  secret: Canary,
  flags: readonly string[] = [],
): Promise<Said & { control: number }> {
  const home = makeHome();
  const placed = fixtureServer('placed');
  // The upstream's own copy is in no environment either.
  configure(home, { upstreams: { placed: { ...placed, fds: { IN_PIPE: 'env:CI_TOKEN' } } } }, user);
  const env = { ...home.env, CI_TOKEN: secret.value };
  const control = run(t, "say('up'); process.stdin.resume()", { uid: user, env: { CONTROL: secret.value } });
  await control.line();
  const args = [
    mainFile,
    'run',
    '--quiet',
    ...['--isolation', 'none'],
    ...flags,
    '--',
    process.execPath,
    '--input-type=module',
    '-e',
    AGENT,
  ];
  const child = spawn(process.execPath, args, { cwd: '/', env, uid: user, gid: user });
  child.stdin.end();
  const { code, stdout, stderr } = await finished(child);
  assert.equal(code, 0, stderr);
  return { ...(JSON.parse(stdout) as Said), control: control.pid };
}

describe('A18 a secret in the environment of ostiary run', { skip }, () => {
  test('A18 A2: the agent finds it in no process of ours, and reads nothing of the run above it', async (t) => {
    if (!canBecome(t, user)) return;
    const said = await runAgent(t, canary('a18'));
    // The control, of the same uid, is what a shell above `run` looks like: nothing can be done about that one.
    assert.deepEqual(said.found, [said.control]);
    assert.deepEqual(said.unreadable, ['environ EACCES']);
  });

  test('A18 the daemon’s environment does not have it, not even for root, and its env: references work', async (t) => {
    if (process.getuid?.() !== 0)
      return t.skip('needs root to read the environment of an undumpable process');
    const secret = canary('a18');
    const daemon = await startDaemon(t, {
      env: { CI_TOKEN: secret.value, LANG: 'C' },
      config: {
        upstreams: { placed: { ...fixtureServer('placed'), fds: { A: 'env:CI_TOKEN', B: 'env:LANG' } } },
      },
    });
    const environ = readFileSync(`/proc/${daemon.pid}/environ`, 'latin1');
    assert.match(environ, /LANG=C/);
    assert.deepEqual(scanForLeaks([secret], { texts: [environ], pids: [daemon.pid] }), []);
    // By its value, under whatever name: so the daemon has it.
    assert.deepEqual(await daemon.control.secretsIn({ OTHER: secret.value, LANG: 'C' }), ['OTHER', 'LANG']);
  });

  test('A6 SIGUSR1 opens no inspector in run, and is not passed on', async (t) => {
    const home = makeHome();
    configure(home, { upstreams: { placed: fixtureServer('placed') } }, process.getuid?.() ?? 0);
    const script = `process.kill(process.ppid, 'SIGUSR1'); process.stdin.on('end', () => {}).resume()`;
    const child = spawn(
      process.execPath,
      [mainFile, 'run', '--quiet', '--isolation', 'none', '--', process.execPath, '-e', script],
      {
        cwd: '/',
        env: { ...home.env },
      },
    );
    t.after(() => child.kill('SIGKILL'));
    const ended = finished(child);
    await eventually('the agent runs', () =>
      readdirSync(home.runtime, { recursive: true }).some((name) => String(name).endsWith('mcp-config.json')),
    );
    child.kill('SIGUSR1');
    child.stdin.end();
    const { code, stderr } = await ended;
    assert.equal(code, 0, stderr);
    assert.doesNotMatch(stderr, /Debugger|inspector/i);
  });
});
