/** A15: undoing what keeps the state and the processes out of sight. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CallRefused, detachMount } from '../../../os/intrusion.ts';
import type { Attack, World } from '../attack.ts';
import { attempt, type Yield } from '../attempt.ts';
import type { Attempt, Brief } from '../brief.ts';
import { targetsOf } from '../processes.ts';
import { output } from './environments.ts';

/** Runs in namespaces of its own, as their root; `$1` the file to read, `$2` the state, `$3` an empty directory. */
const tricks: readonly [string, string][] = [
  ['umount in a nested user namespace', 'umount -l "$2"; cat "$1"'],
  ['all mounts taken away in a nested user namespace', 'umount -a -l 2>/dev/null; cat "$1"'],
  ['what lies below the mounts, by a bind of /', 'mount --bind / "$3" && cat "$3$1"'],
  [
    'a fresh /proc in a nested user namespace',
    'mount -t proc proc "$3" && cat "$3"/[0-9]*/environ; cat "$3/1/root$1"',
  ],
  ['remounted writable', 'mount -o remount,bind,rw / && cat "$1"'],
];

async function nested(brief: Brief, script: string): Promise<Yield> {
  const directory = mkdtempSync(join(tmpdir(), 'attack-'));
  try {
    const { places } = brief;
    const { code, text } = await output('unshare', [
      '-Urm',
      'sh',
      '-c',
      script,
      'sh',
      places.stateMarker,
      places.state,
      directory,
    ]);
    if (code === 0 || text.includes('canary-')) return text;
    return { refused: text.trim().split('\n').at(-1)?.replace(/^.*: /, '').slice(0, 60) || `code ${code}` };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function throughProc(places: Brief['places'], pid: number | 'self'): Yield {
  return readFileSync(`/proc/${pid}/root${places.stateMarker}`);
}

async function undo({ brief }: World): Promise<readonly Attempt[]> {
  const { places } = brief;
  const outside = targetsOf(brief, 'daemon', 'command')[0]?.pid ?? 1;
  const attempts = [
    await attempt('umount', () => {
      try {
        detachMount(places.state);
      } catch (error) {
        // Refused or no mount at all: the file tells whether anything hides it.
        if (!(error instanceof CallRefused)) throw error;
      }
      return readFileSync(places.stateMarker);
    }),
    await attempt('/proc/1/root', () => throughProc(places, 1)),
    await attempt('/proc/PID/root of the daemon', () => throughProc(places, outside)),
    await attempt('nsenter', async (): Promise<Yield> => {
      const { code, text } = await output('nsenter', [
        '-t',
        String(outside),
        '-m',
        '-p',
        'cat',
        places.stateMarker,
      ]);
      return code === 0
        ? text
        : { refused: text.trim().split('\n').at(-1)?.replace(/^.*: /, '') || `code ${code}` };
    }),
  ];
  for (const [what, script] of tricks) attempts.push(await attempt(what, () => nested(brief, script)));
  return attempts;
}

export const sandbox: readonly Attack[] = [{ number: 'A15', name: 'sandbox', alone: true, run: undo }];
