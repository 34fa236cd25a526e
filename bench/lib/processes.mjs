/** Starting, counting and ending the processes under measurement. Linux: reads /proc. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { fileURLToPath } from 'node:url';

export const UPSTREAM = fileURLToPath(new URL('../upstream.mjs', import.meta.url));

const started = new Set();

/** Starts a process in a group of its own; it ends with us, whatever happens. */
export function start(command, args, { env = {}, cwd = '/', stdin = 'ignore' } = {}) {
  const child = spawn(command, args, {
    cwd,
    detached: true,
    env: { PATH: process.env.PATH, ...env },
    stdio: [stdin, 'pipe', 'pipe'],
  });
  child.lastWords = '';
  child.stderr.on('data', (data) => {
    child.lastWords = (child.lastWords + data).slice(-2_000);
  });
  child.stdin?.on('error', () => {});
  started.add(child);
  child.on('error', () => started.delete(child));
  return child;
}

function kill(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // The whole group has ended.
  }
}

/** SIGTERM, after two seconds SIGKILL, to the whole group. */
export async function stop(child) {
  if (child.exitCode === null && child.signalCode === null) {
    kill(child, 'SIGTERM');
    const timer = setTimeout(() => kill(child, 'SIGKILL'), 2_000);
    await once(child, 'exit');
    clearTimeout(timer);
  }
  kill(child, 'SIGKILL');
  started.delete(child);
}

export function killAll() {
  for (const child of started) kill(child, 'SIGKILL');
  started.clear();
}

process.on('exit', killAll);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(130));

export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

const connects = (port) =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => resolve(true));
    socket.on('error', () => resolve(false));
    socket.on('close', () => resolve(false));
    socket.unref();
    socket.on('connect', () => socket.destroy());
  });

/** Resolves when `port` accepts connections; rejects when `child` ends first or after 30 s. */
export async function listening(port, child) {
  const deadline = performance.now() + 30_000;
  while (!(await connects(port))) {
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new Error(`ended at start: ${child.lastWords.trim() || `exit code ${child.exitCode}`}`);
    }
    if (performance.now() > deadline) throw new Error(`not listening after 30 s: ${child.lastWords.trim()}`);
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
}

function read(pid, file) {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}

/** The first argument that is no option, nor its value, is our script: a server of ours, not a proxy that was told to start it. */
const isUpstream = (pid) =>
  read(pid, 'cmdline')
    .split('\0')
    .slice(1)
    .find((arg, index, all) => !arg.startsWith('-') && all[index - 1] !== '--require') === UPSTREAM;

/** Ids of `root` and its descendants: {proxy, upstreams}. */
export function tree(root) {
  const children = new Map();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = read(name, 'stat');
    const parent = +stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1];
    children.set(parent, [...(children.get(parent) ?? []), +name]);
  }
  const all = [root];
  for (const pid of all) all.push(...(children.get(pid) ?? []));
  const upstreams = all.filter(isUpstream);
  return { proxy: all.filter((pid) => !upstreams.includes(pid)), upstreams };
}

const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

/** Nanoseconds on the processor, all threads. */
export const cpuNs = (pids) =>
  sum(
    pids.flatMap((pid) => {
      try {
        return readdirSync(`/proc/${pid}/task`).map(
          (tid) => +read(pid, `task/${tid}/schedstat`).split(' ')[0],
        );
      } catch {
        return [0];
      }
    }),
  );

const kib = (pid, file, field) =>
  +(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(read(pid, file))?.[1] ?? Number.NaN);

export const rssMb = (pids) => sum(pids.map((pid) => kib(pid, 'status', 'VmRSS'))) / 1024;
/** Shared pages counted once; NaN where the kernel does not tell us (undumpable processes, when not root). */
export const pssMb = (pids) => sum(pids.map((pid) => kib(pid, 'smaps_rollup', 'Pss'))) / 1024;
