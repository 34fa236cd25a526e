/** A7: a core dump. A8: what a Node process writes about itself when it is signalled. */
import {
  closeSync,
  constants,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { allowCores } from '../../../os/intrusion.ts';
import type { Attack, World } from '../attack.ts';
import { Absent, attempt, type Yield } from '../attempt.ts';
import type { Attempt, Brief, Target } from '../brief.ts';
import { sightingsIn } from '../canaries.ts';
import { isVisible, targetsOf, unseen } from '../processes.ts';

const dumpMs = 1500;
const chunkBytes = 4 * 1024 * 1024;

/** Files below the private world whose name matches, wherever it lets us look. */
function filesNamed(directory: string, name: RegExp): string[] {
  let entries: ReturnType<typeof readDirectory>;
  try {
    entries = readDirectory(directory);
  } catch {
    return [];
  }
  return entries.flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return filesNamed(path, name);
    return entry.isFile() && name.test(entry.name) ? [path] : [];
  });
}

function readDirectory(directory: string) {
  return readdirSync(directory, { withFileTypes: true });
}

/** The first part of a large file that has a secret in it, else nothing. */
function firstSecretIn(path: string): Uint8Array {
  const fd = openSync(path, constants.O_RDONLY);
  try {
    const chunk = Buffer.alloc(chunkBytes);
    // Parts overlap by more than a canary.
    for (let at = 0; ; at += chunkBytes - 1024) {
      const part = chunk.subarray(0, readSync(fd, chunk, 0, chunkBytes, at));
      if (sightingsIn(part).length > 0) return Buffer.from(part);
      if (part.length < chunkBytes) return Buffer.alloc(0);
    }
  } finally {
    closeSync(fd);
  }
}

/** Waits until the target is gone, then looks for what it left. */
async function remains({ places }: Brief, target: Target, name: RegExp, known: ReadonlySet<string>) {
  const deadline = performance.now() + dumpMs;
  while (isVisible(target) && performance.now() < deadline) await sleep(20);
  return filesNamed(places.root, name).filter((path) => !known.has(path));
}

/** A process that may not be dumped belongs, in /proc, to root. */
function isUndumpable({ pid }: Target): boolean {
  return statSync(`/proc/${pid}`).uid !== process.getuid?.();
}

const coreFile = /^core/;

async function dumpCore(brief: Brief, target: Target, mayEnd: boolean): Promise<Yield> {
  if (!isVisible(target)) return unseen;
  allowCores(target.pid);
  if (isUndumpable(target)) return { refused: 'the limit was lifted, and it is undumpable' };
  if (!mayEnd) return { opened: 'may dump core: its limit was lifted' };
  const pattern = readFileSync('/proc/sys/kernel/core_pattern', 'latin1').trim();
  const known = new Set(filesNamed(brief.places.root, coreFile));
  process.kill(target.pid, 'SIGABRT');
  if (!coreFile.test(pattern)) throw new Absent(`cores of this machine go to ${pattern.slice(0, 40)}`);
  const cores = await remains(brief, target, coreFile, known);
  if (cores.length === 0) return { refused: 'aborted, and no core was written' };
  const found = Buffer.concat(cores.map(firstSecretIn));
  for (const core of cores) rmSync(core, { force: true });
  return found;
}

async function cores({ brief, ask }: World): Promise<readonly Attempt[]> {
  const { targets } = await ask('victims');
  const attempts: Attempt[] = [];
  for (const target of targetsOf(brief, 'daemon'))
    attempts.push(await attempt(`prlimit of ${target.name}`, () => dumpCore(brief, target, false)));
  for (const target of targets)
    attempts.push(
      await attempt(`prlimit, SIGABRT and core of ${target.name}`, () => dumpCore(brief, target, true)),
    );
  return attempts;
}

const ownAccount = /^(?:report\..*\.json|Heap\..*\.heapsnapshot|.*\.(?:heapsnapshot|cpuprofile))$/;

async function provoke(brief: Brief, target: Target, signal: NodeJS.Signals): Promise<Yield> {
  if (!isVisible(target)) return unseen;
  const known = new Set(filesNamed(brief.places.root, ownAccount));
  process.kill(target.pid, signal);
  const found = await remains(brief, target, ownAccount, known);
  if (found.length === 0) return { refused: 'signalled, and nothing was written' };
  return Buffer.concat(found.map(firstSecretIn));
}

async function accounts({ brief, ask }: World): Promise<readonly Attempt[]> {
  const { targets } = await ask('victims');
  const attempts: Attempt[] = [];
  for (const target of targets)
    if (target.node)
      attempts.push(
        await attempt(`SIGUSR2 to ${target.name}, report and heap snapshot`, () =>
          provoke(brief, target, 'SIGUSR2'),
        ),
      );
  return attempts;
}

export const crashes: readonly Attack[] = [
  { number: 'A7', name: 'core', alone: true, run: cores },
  { number: 'A8', name: 'report', alone: true, run: accounts },
];
