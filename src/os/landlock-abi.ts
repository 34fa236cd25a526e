/** Whether the kernel can confine a process by Landlock (landlock(7)), and how much of it. */
import { native } from './native.ts';

/** The same on every architecture. */
const SYS_CREATE_RULESET = 444;
const CREATE_RULESET_VERSION = 1;

/**
 * The ABI: 1 has files (Linux 5.13), 4 TCP ports (6.7), 6 signals and abstract sockets (6.12). 0: not there, or off.
 * @throws {Failure} when koffi is not installed
 */
export function landlockAbi(): number {
  if (process.platform !== 'linux') return 0;
  const abi = native.syscall(
    SYS_CREATE_RULESET,
    'void *',
    null,
    'size_t',
    0,
    'uint32',
    CREATE_RULESET_VERSION,
  );
  return Math.max(0, abi);
}
