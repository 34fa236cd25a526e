/** Our own environment, as other processes see it. */
import { native } from './native.ts';

/**
 * Removes a variable from the environment and overwrites its value where the kernel put it when this process started:
 * `/proc/PID/environ` shows that memory, whatever becomes of `process.env`. Copies elsewhere in memory remain.
 */
export function forgetVariable(name: string): void {
  const value = native.getenv(name);
  delete process.env[name];
  if (value !== null) native.memset(value, 0, native.strlen(value));
}
