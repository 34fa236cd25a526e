/** Whether the kernel can confine a process by Landlock (landlock(7)), and how much of it. */
import { native } from './native.ts';

const SYS_landlock_create_ruleset = 444;
const LANDLOCK_CREATE_RULESET_VERSION = 1;

/**
 * The ABI: 1 has files (Linux 5.13), 4 TCP ports (6.7), 6 signals and abstract sockets (6.12). 0: not there, or off.
 * @throws {Failure} when koffi is not installed
 */
export function landlockVersion(): number {
  if (process.platform !== 'linux') return 0;
  const { syscall } = native;
  const version = syscall(
    SYS_landlock_create_ruleset,
    'void *',
    null,
    'size_t',
    0,
    'uint32',
    LANDLOCK_CREATE_RULESET_VERSION,
  );
  return Math.max(0, version);
}
