/** Settings of the kernel by which a secret leaves the memory that it is in. */
import type { Check } from '../check.ts';
import { type Finding, fine, problem } from '../finding.ts';
import type { Machine } from '../machine.ts';

/** Yama (Documentation/admin-guide/LSM/Yama.rst): who may attach to a process of the same user. */
function ptrace(machine: Machine): Finding {
  const scope = machine.read('/proc/sys/kernel/yama/ptrace_scope')?.trim();
  if (scope !== undefined && scope !== '0')
    return fine(
      'system.ptrace',
      `kernel.yama.ptrace_scope=${scope}: memory of unrelated processes is closed`,
    );
  return problem(
    'system.ptrace-open',
    scope === undefined
      ? 'the kernel has no Yama: programs of one user may read the memory of one another, where these do not forbid it'
      : 'kernel.yama.ptrace_scope=0: programs of one user may read the memory of one another, where these do not forbid it',
    scope === undefined
      ? 'a kernel with Yama, and lsm=…,yama'
      : 'echo kernel.yama.ptrace_scope=1 | sudo tee /etc/sysctl.d/60-ptrace.conf && sudo sysctl --system',
  );
}

/** A program that takes dumps is run whatever the limit of the process is (core(5)). */
function core(machine: Machine): Finding {
  const pattern = machine.read('/proc/sys/kernel/core_pattern')?.trim() ?? '';
  if (!pattern.startsWith('|')) return fine('system.core', 'memory of crashed upstreams is not kept');
  return problem(
    'system.core-piped',
    `memory of a crashed upstream goes to ${pattern.slice(1).split(' ')[0]}, whatever its limit`,
    'with systemd-coredump: Storage=none and ProcessSizeMax=0 in /etc/systemd/coredump.conf',
  );
}

function swap(machine: Machine): Finding {
  const areas = (machine.read('/proc/swaps') ?? '')
    .split('\n')
    .slice(1)
    .map((line) => line.split(/\s+/)[0] ?? '')
    .filter((name) => name !== '' && !name.startsWith('/dev/zram'));
  if (areas.length === 0) return fine('system.swap', 'memory is not swapped to a disk');
  // What lies below a device-mapper name is often encrypted, and we cannot see whether.
  return problem(
    'system.swap-on-disk',
    `memory, and secrets in it, may be written to ${areas.join(', ')}`,
    'see that it is encrypted: lsblk -o NAME,TYPE,MOUNTPOINTS; or sudo swapoff -a',
  );
}

export const system: Check = {
  group: 'isolation',
  title: 'settings of the kernel',
  run: ({ machine }) => (machine.platform === 'linux' ? [ptrace(machine), core(machine), swap(machine)] : []),
};
