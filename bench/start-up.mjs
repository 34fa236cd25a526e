/**
 * What the sandbox adds to the start of an agent: `ostiary run -- true` by each mechanism, in turns, with a resident daemon.
 * The floor is the start of a Node that does nothing.
 *
 *     node bench/start-up.mjs [ROUNDS]
 *
 * Ordinary users only, for root is no measure of user namespaces.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median, quantile, shuffled } from './lib/stats.mjs';

const MAIN = fileURLToPath(new URL('../dist/main.cjs', import.meta.url));
const UPSTREAM = fileURLToPath(new URL('./upstream.mjs', import.meta.url));
const rounds = Number(process.argv[2] ?? 15);

const home = mkdtempSync(join(tmpdir(), 'ostiary-bench-'));
for (const name of ['config', 'state', 'run', 'project']) mkdirSync(join(home, name), { mode: 0o700 });
const config = join(home, 'config.yaml');
const upstreams = { echo: { command: 'node', args: [UPSTREAM] } };
writeFileSync(config, JSON.stringify({ version: 1, upstreams }), { mode: 0o600 });
const env = {
  PATH: '/usr/local/bin:/usr/bin:/bin',
  HOME: home,
  OSTIARY_CONFIG: config,
  XDG_CONFIG_HOME: join(home, 'config'),
  XDG_STATE_HOME: join(home, 'state'),
  XDG_RUNTIME_DIR: join(home, 'run'),
};
const ostiary = (...args) => {
  const { status, stderr } = spawnSync(process.execPath, [MAIN, ...args], {
    env,
    cwd: join(home, 'project'),
    encoding: 'utf8',
  });
  return { status, stderr };
};

try {
  ostiary('up');
  const times = { node: [], none: [], bubblewrap: [], landlock: [] };
  const start = (how) =>
    how === 'node'
      ? spawnSync(process.execPath, ['-e', '0'], { env, encoding: 'utf8' })
      : ostiary('run', '--quiet', '--isolation', how, '--', '/bin/true');
  for (let round = 0; round < rounds; round++)
    for (const how of shuffled(Object.keys(times))) {
      const started = performance.now();
      const { status, stderr } = start(how);
      if (status !== 0) times[how] = [Number.NaN];
      else times[how].push(performance.now() - started);
      if (status !== 0 && round === 0) console.error(`${how}: ${stderr.trim()}`);
    }
  const floor = median(times.node);
  const ms = (value) => `${value.toFixed(0).padStart(5)} ms`;
  for (const [how, all] of Object.entries(times)) {
    const added = median(all.map((time, round) => time - times.none[round]));
    const sandbox = ['bubblewrap', 'landlock'].includes(how)
      ? `  added ${ms(added)}, ${(added / floor).toFixed(2)} F`
      : '';
    console.log(`${how.padEnd(11)} ${ms(median(all))}  p90 ${ms(quantile(all, 0.9))}${sandbox}`);
  }
} finally {
  ostiary('down');
  rmSync(home, { recursive: true, force: true });
}
