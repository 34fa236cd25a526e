/** Ends a process group whose leader is a child of ours. */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Between two looks at a group: at first, and at most. */
const firstPollMs = 5;
const lastPollMs = 80;

/** SIGKILL cannot be caught: what is left after this sits in the kernel and dies on its way out. */
const killedMs = 1000;

/** False when there is nobody to signal: ESRCH, or EPERM for what is a zombie (macOS) or not ours to signal. */
function signalGroup(pgid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-pgid, signal);
  } catch {
    return false;
  }
}

/** Whether a member has more left than its entry in the process table; true where the system does not tell. */
function hasLivingMember(pgid: number): boolean {
  if (process.platform !== 'linux') return true;
  let pids: readonly string[];
  try {
    pids = readdirSync('/proc');
  } catch {
    // Too many files are open, say.
    return true;
  }
  return pids.some((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
      // proc_pid_stat(5): the name in parentheses may hold anything; state, parent and group follow it.
      const [state, , group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return group === String(pgid) && state !== 'Z' && state !== 'X';
    } catch {
      return false;
    }
  });
}

/**
 * The process group in the PID namespace that bubblewrap made: that of its one child.
 * @returns `null` as long as, or after, there is none
 */
export function groupInside(bubblewrap: number): number | null {
  try {
    const [child] = readFileSync(`/proc/${bubblewrap}/task/${bubblewrap}/children`, 'latin1').split(' ');
    const pid = Number(child);
    if (!Number.isSafeInteger(pid) || pid <= 1) return null;
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const group = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[2];
    // Before it has made its own, it is in that of bubblewrap.
    return group === child ? pid : null;
  } catch {
    return null;
  }
}

/** `dead`: only zombies, whose parent (init, or what plays it in a container) has not reaped them. */
type Look = 'absent' | 'dead' | 'living';

/**
 * Sends SIGTERM, after `graceMs` SIGKILL, and resolves when no member is left, or at the latest a second after SIGKILL.
 *
 * Why no signal can reach strangers by a reused number: the kernel keeps `pgid` taken while its leader is not reaped, and
 * afterwards while any process is in the group. Node reaps the leader and emits 'exit' in one go, the caller calls us at
 * the latest from that event, and each signal follows at once on a look that found the group. So between two looks, under
 * 100 ms apart, the last member would have to die, all other free numbers be handed out (Linux does so in turn), and the
 * number go to a process of our own uid that leads a group. Once a look finds the group absent, nothing is sent again.
 *
 * @param leaderReaped whether the leader's 'exit' event was seen
 */
export async function endGroup(pgid: number, graceMs: number, leaderReaped: () => boolean): Promise<void> {
  const look = (): Look => {
    if (!signalGroup(pgid, 0)) return 'absent';
    return !leaderReaped() || hasLivingMember(pgid) ? 'living' : 'dead';
  };
  const settled = async (waitMs: number): Promise<Look> => {
    const deadline = performance.now() + waitMs;
    for (let pause = firstPollMs; ; pause = Math.min(2 * pause, lastPollMs)) {
      const seen = look();
      const left = deadline - performance.now();
      if (seen !== 'living' || left <= 0) return seen;
      await sleep(Math.min(pause, left));
    }
  };
  if (look() === 'absent') return;
  signalGroup(pgid, 'SIGTERM');
  if ((await settled(graceMs)) === 'absent') return;
  // Also to the dead: a process whose main thread has ended looks like a zombie while its other threads run (F5).
  signalGroup(pgid, 'SIGKILL');
  await settled(killedMs);
}
