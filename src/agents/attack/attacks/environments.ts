/** A1, A2, A9, A18: environments of processes. A5: their command lines. A10: environments of those that just start. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { sealedForSpawn } from '../../../environment.ts';
import type { Attack, World } from '../attack.ts';
import { Absent, attempt, type Yield } from '../attempt.ts';
import type { Attempt, Sighting, Target } from '../brief.ts';
import { sightingsIn } from '../canaries.ts';
import { everyPid, isVisible, targetsOf, unseen } from '../processes.ts';

function environOf(target: Target): Promise<Attempt> {
  return attempt(`/proc/PID/environ of ${target.name}`, () =>
    isVisible(target) ? readFileSync(`/proc/${target.pid}/environ`) : unseen,
  );
}

/** Each thread has its own view of the same memory. */
function threadEnvirons(target: Target): Promise<Attempt> {
  return attempt(`/proc/PID/task/TID/environ of ${target.name}`, () => {
    if (!isVisible(target)) return unseen;
    const tasks = readdirSync(`/proc/${target.pid}/task`);
    return Buffer.concat(tasks.map((task) => readFileSync(`/proc/${target.pid}/task/${task}/environ`)));
  });
}

function environsOf(roles: readonly Target['role'][]): Attack['run'] {
  return async ({ brief }) =>
    (
      await Promise.all(
        targetsOf(brief, ...roles).map((target) => Promise.all([environOf(target), threadEnvirons(target)])),
      )
    ).flat();
}

/** @returns what it wrote @throws {Absent} when it is not installed */
export function output(
  command: string,
  args: readonly string[],
  more: { env?: Readonly<Record<string, string>>; cwd?: string } = {},
): Promise<{ readonly code: number | null; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const child: ChildProcess = spawn(command, args, {
      env: sealedForSpawn(more.env ?? { PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin' }),
      ...(more.cwd !== undefined && { cwd: more.cwd }),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let text = '';
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('latin1').on('data', (chunk: string) => {
        text += chunk;
      });
    child.on('error', (error: NodeJS.ErrnoException) =>
      // Of a directory that is closed to us, too.
      reject(error.code === 'ENOENT' ? new Absent(`${command} is not installed`) : error),
    );
    child.on('close', (code) => resolve({ code, text }));
  });
}

/** The same, as a person would look. */
async function psEww({ brief }: World): Promise<readonly Attempt[]> {
  const pids = targetsOf(brief, 'upstream').filter(isVisible);
  return [
    await attempt('ps eww', async (): Promise<Yield> => {
      if (pids.length === 0) return unseen;
      return (await output('ps', ['eww', '-p', pids.map(({ pid }) => pid).join(',')])).text;
    }),
  ];
}

function commandLines(): Promise<Attempt> {
  return attempt('/proc/*/cmdline', () => {
    const lines = everyPid().map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`);
      } catch {
        // It ended meanwhile.
        return Buffer.alloc(0);
      }
    });
    return Buffer.concat(lines);
  });
}

/** Whatever it can look at, its own environment and its parents' included. */
function everyEnviron(): Promise<Attempt> {
  return attempt('/proc/*/environ and its own', () => {
    const read: Buffer[] = [Buffer.from(JSON.stringify(process.env))];
    for (const pid of everyPid())
      try {
        read.push(readFileSync(`/proc/${pid}/environ`));
      } catch {
        // Refused, or it ended meanwhile.
      }
    return Buffer.concat(read);
  });
}

/** Looks at each process as soon as it is there, again and again until it has been seen or refused for good. */
async function race({ ask }: World): Promise<readonly Attempt[]> {
  const before = new Set(everyPid());
  const hit = new Map<number, Sighting[]>();
  let over = false;
  const asked = ask('starts').finally(() => {
    over = true;
  });
  while (!over) {
    const until = performance.now() + 20;
    while (performance.now() < until)
      for (const pid of everyPid()) {
        if (before.has(pid) || hit.has(pid)) continue;
        try {
          const sightings = sightingsIn(readFileSync(`/proc/${pid}/environ`));
          if (sightings.length > 0) hit.set(pid, sightings);
        } catch {
          // Refused, or it ended meanwhile: the next look may come in between.
        }
      }
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { starts } = await asked;
  const what = 'loop on the environment of starting upstreams';
  if (starts === 0) return [{ what, outcome: 'unproven', why: 'nothing was started', sightings: [] }];
  const why = `${hit.size} hits in ${starts} starts`;
  const sightings = [...hit.values()].flat();
  return [{ what, outcome: hit.size > 0 ? 'leak' : 'denied', why, sightings }];
}

export const environments: readonly Attack[] = [
  { number: 'A1', name: 'environ', run: environsOf(['upstream']) },
  { number: 'A1', name: 'ps', run: psEww },
  { number: 'A2', name: 'environ', run: environsOf(['daemon']) },
  { number: 'A5', name: 'cmdline', run: async () => [await commandLines()] },
  { number: 'A9', name: 'environ', run: environsOf(['descendant']) },
  { number: 'A10', name: 'race', alone: true, run: race },
  {
    number: 'A18',
    name: 'environ',
    run: async (world) => [...(await environsOf(['command', 'job'])(world)), await everyEnviron()],
  },
];
