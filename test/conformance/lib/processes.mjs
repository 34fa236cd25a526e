/** The fixture and the daemon as processes of their own. Both end when their standard input does: with us, however we end. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const fixture = join(import.meta.dirname, '..', 'fixture.mjs');
const main = join(import.meta.dirname, '..', '..', '..', 'dist', 'main.cjs');
const startMs = 30_000;
const stopMs = 10_000;

/** Starts a program that prints one JSON line when it is ready: {ready, stop()}. */
async function start(what, args, env) {
  const child = spawn(process.execPath, args, { cwd: '/', env, stdio: ['pipe', 'pipe', 'pipe'] });
  const ended = once(child, 'close');
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (data) => {
    words = (words + data).slice(-4_000);
  });
  const stop = async () => {
    child.stdin.destroy();
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), stopMs);
    await ended;
    clearTimeout(timer);
  };
  const timer = setTimeout(() => child.kill('SIGKILL'), startMs);
  try {
    let line = '';
    for await (const data of child.stdout.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
      line += data;
      if (line.includes('\n')) return { ready: JSON.parse(line.split('\n')[0]), stop };
    }
  } finally {
    clearTimeout(timer);
    child.stdout.resume();
  }
  await ended;
  throw new Error(`${what} did not start: ${words.trim()}`);
}

/** The fixture over HTTP: {url, stop()}. */
export async function startFixture(env = {}) {
  const { ready, stop } = await start('the fixture', [fixture, 'http'], { PATH: process.env.PATH, ...env });
  return { url: ready.url, stop };
}

/** How ostiary starts the fixture over stdio; its credential comes from the daemon's environment. */
const stdioUpstream = {
  command: process.execPath,
  args: [fixture],
  secrets: { FIXTURE_TOKEN: 'env:FIXTURE_CREDENTIAL' },
};

/**
 * A daemon with the fixture behind it, as its own child or at `fixtureUrl`, and a session:
 * {url, token, stop()}, `url` being the endpoint.
 */
export async function startOstiary({ credential, fixtureUrl }) {
  const home = mkdtempSync(join(tmpdir(), 'o-conf-'));
  const remove = () => rmSync(home, { recursive: true, force: true });
  for (const name of ['config', 'state', 'run']) mkdirSync(join(home, name), { mode: 0o700 });
  const runtime = join(home, 'run', 'ostiary');
  mkdirSync(runtime, { mode: 0o700 });
  const config = join(home, 'config.yaml');
  const upstreams = { fixture: fixtureUrl === undefined ? stdioUpstream : { url: fixtureUrl } };
  // JSON is YAML.
  writeFileSync(config, JSON.stringify({ version: 1, upstreams }), { mode: 0o600 });
  const env = {
    PATH: process.env.PATH,
    HOME: home,
    XDG_CONFIG_HOME: join(home, 'config'),
    XDG_STATE_HOME: join(home, 'state'),
    XDG_RUNTIME_DIR: join(home, 'run'),
  };
  try {
    const serve = [main, 'serve', '--config', config, '--private', runtime];
    const daemon = await start('ostiary', serve, { ...env, FIXTURE_CREDENTIAL: credential });
    const stop = () => daemon.stop().finally(remove);
    try {
      const args = [main, 'session', 'new', '--token', '--json'];
      const { stdout } = await promisify(execFile)(process.execPath, args, { env, timeout: startMs });
      const { token } = JSON.parse(stdout);
      return { url: `${daemon.ready.url}/mcp/fixture`, token, stop };
    } catch (error) {
      await stop();
      throw error;
    }
  } catch (error) {
    remove();
    throw error;
  }
}
