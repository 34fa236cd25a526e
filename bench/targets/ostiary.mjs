/**
 * ostiary with everything on: session, peer check, policy, redaction of a real secret, audit. Over HTTP and over its
 * socket, with one server for all as the floor has it; and with one for each conversation, which is its default.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort, start, stop, UPSTREAM } from '../lib/processes.mjs';
import { HttpSession, LineSession } from '../lib/sessions.mjs';

const MAIN = fileURLToPath(new URL('../../dist/main.cjs', import.meta.url));
const PATH = '/mcp/echo';
/** A session of ours carries at most 64 conversations (src/limits.ts). */
const PER_SESSION = 48;

const directories = new Set();
process.on('exit', () => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

/** Configuration and state of a daemon of our own. JSON is YAML. */
function lay(port, lifecycle) {
  const home = mkdtempSync(join(tmpdir(), 'ostiary-bench-'));
  directories.add(home);
  for (const name of ['config', 'state', 'run']) mkdirSync(join(home, name), { mode: 0o700 });
  const secret = join(home, 'secret');
  writeFileSync(secret, randomBytes(24).toString('base64url'), { mode: 0o600 });
  const config = join(home, 'config.yaml');
  const upstreams = {
    echo: { command: 'node', args: [UPSTREAM], lifecycle, secrets: { BENCH_SECRET: `file:${secret}` } },
  };
  writeFileSync(config, JSON.stringify({ version: 1, listen: { port }, upstreams }), { mode: 0o600 });
  const env = {
    PATH: process.env.PATH,
    HOME: home,
    XDG_CONFIG_HOME: join(home, 'config'),
    XDG_STATE_HOME: join(home, 'state'),
    XDG_RUNTIME_DIR: join(home, 'run'),
  };
  return { home, config, env };
}

/** What `ostiary up` and `ostiary run` do, without a Node of their own: the files that say how are theirs. */
async function daemon({ env, config }) {
  const load = (file) => import(new URL(`../../build/src/${file}`, import.meta.url));
  const { daemonEnvironment } = await load('environment.js');
  const { daemonFlags } = await load('cli/daemon-process.js');
  const { ControlClient } = await load('cli/control.js');
  const args = [...daemonFlags(), MAIN, 'serve', '--config', config];
  const child = start(process.execPath, args, { env: daemonEnvironment(env, []) });
  const line = await new Promise((resolve, reject) => {
    child.stdout.once('data', resolve);
    child.once('exit', () => reject(new Error(`ended at start: ${child.lastWords.trim()}`)));
  }).catch(async (error) => {
    await stop(child);
    throw error;
  });
  const control = new ControlClient(JSON.parse(line).control);
  /** {id, url, socket, token} */
  const newSession = () => control.openSession({ profile: 'default', label: '', token: true, lease: false });
  return { child, newSession };
}

/** Line mode: the connection is newline JSON once the upgrade is answered. */
function upgrade(socketPath) {
  return new Promise((resolve, reject) => {
    const headers = { Connection: 'Upgrade', Upgrade: 'mcp-stdio' };
    request({ socketPath, path: PATH, headers })
      .on('error', reject)
      .on('response', ({ statusCode }) => reject(new Error(`HTTP ${statusCode} to the upgrade`)))
      .on('upgrade', (_response, socket, head) => {
        socket.unshift(head);
        resolve(LineSession.open(socket, socket, async () => void socket.destroy()));
      })
      .end();
  });
}

const openBy = {
  http: ({ url, token }) => HttpSession.open({ port: +new URL(url).port, path: PATH, token }),
  socket: ({ socket }) => upgrade(socket),
};

function target(name, mode, lifecycle = 'shared') {
  return {
    name,
    missing: () => (existsSync(MAIN) ? null : 'dist/main.cjs is missing; run: npm run build'),
    async start() {
      const port = await freePort();
      const place = lay(port, lifecycle);
      const cleanUp = () => {
        rmSync(place.home, { recursive: true, force: true });
        directories.delete(place.home);
      };
      const { child, newSession } = await daemon(place).catch((error) => {
        cleanUp();
        throw error;
      });
      const end = () => stop(child).finally(cleanUp);
      try {
        const sessions = [{ ...(await newSession()), used: 0 }];
        return {
          pids: () => [child.pid],
          /** Makes sessions for `n` further conversations, so that `open` need not. */
          async reserve(n) {
            const room = () => sessions.reduce((sum, { used }) => sum + PER_SESSION - used, 0);
            while (room() < n) sessions.push({ ...(await newSession()), used: 0 });
          },
          async open() {
            const session = sessions.find(({ used }) => used < PER_SESSION);
            session.used++;
            const conversation = await openBy[mode](session);
            const close = conversation.close.bind(conversation);
            conversation.close = () => close().finally(() => session.used--);
            return conversation;
          },
          stop: end,
        };
      } catch (error) {
        await end();
        throw error;
      }
    },
  };
}

export const overHttp = target('ostiary', 'http');
export const overSocket = target('ostiary-socket', 'socket');
export const childEach = target('ostiary-session', 'http', 'session');
