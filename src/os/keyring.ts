/** Kernel keyrings (keyrings(7)): keys in the session keyring belong to whoever possesses it, whatever sandbox it is in. */
import { native } from './native.ts';
import { syscallNumber } from './seccomp.ts';

const KEYCTL_JOIN_SESSION_KEYRING = 1;

/**
 * Gives this thread, and what it starts, a new and empty session keyring instead of the one of its login.
 * @returns whether it has one; kernels without keyrings have nothing to take either
 */
export function joinNewSessionKeyring(): boolean {
  const number = syscallNumber('keyctl');
  if (number === null) return false;
  return native.joinSessionKeyring(number, KEYCTL_JOIN_SESSION_KEYRING, null) > 0;
}
