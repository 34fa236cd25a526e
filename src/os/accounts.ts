/** Users and groups by name, as the system's own sources have them: files, LDAP, sssd (getpwnam(3), nsswitch.conf(5)). */
import { Failure } from '../errors.ts';
import { native } from './native.ts';

export interface User {
  readonly uid: number;
  /** Its primary group. */
  readonly gid: number;
}

const STRUCT_BYTES = 128;
const TEXT_BYTES = 64 * 1024;

/** Both structs begin with two pointers, name and password; numbers follow. */
const numbersAt = 2 * (process.arch === 'arm' || process.arch === 'ia32' ? 4 : 8);

type LookUp = (entry: Buffer, text: Buffer, size: number, found: Buffer) => number;

function look(ask: LookUp): Buffer | null {
  if (process.platform === 'win32') return null;
  const entry = Buffer.alloc(STRUCT_BYTES);
  const found = Buffer.alloc(8);
  const error = ask(entry, Buffer.alloc(TEXT_BYTES), TEXT_BYTES, found);
  return error === 0 && found.some((byte) => byte !== 0) ? entry : null;
}

/** @param user a name, or a number in decimal */
export function userNamed(user: string): User | null {
  const entry = /^\d+$/.test(user)
    ? look((...into) => native.getpwuid(Number(user), ...into))
    : look((...into) => native.getpwnam(user, ...into));
  return entry === null
    ? null
    : { uid: entry.readUInt32LE(numbersAt), gid: entry.readUInt32LE(numbersAt + 4) };
}

/** @param group a name, or a number in decimal, which need not have a name */
export function groupNamed(group: string): number | null {
  if (/^\d+$/.test(group)) return Number(group);
  const entry = look((...into) => native.getgrnam(group, ...into));
  return entry === null ? null : entry.readUInt32LE(numbersAt);
}

/** @throws {Failure} when there is no such user */
export function requireUser(user: string): User {
  const found = userNamed(user);
  if (found === null)
    throw new Failure('config', `no user of this name: ${user}`, { hint: `getent passwd ${user}` });
  return found;
}
