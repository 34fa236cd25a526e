/**
 * Landlock (landlock(7)): a thread gives up rights for good, for itself and for whatever it starts. No privilege is needed.
 * Linux alone; numbers from `linux/landlock.h`.
 */
import { closeSync, constants, openSync, statSync } from 'node:fs';
import { Failure } from '../errors.ts';
import { errorName, native } from './native.ts';
import { giveUpPrivileges } from './seccomp.ts';

/** The same on every architecture. */
const SYS_CREATE_RULESET = 444;
const SYS_ADD_RULE = 445;
const SYS_RESTRICT_SELF = 446;

const CREATE_RULESET_VERSION = 1;
const RULE_PATH_BENEATH = 1;
/** Not among Node's constants; x86 and ARM. */
const O_PATH = 0o10000000;
const O_CLOEXEC = 0o2000000;

/** `LANDLOCK_ACCESS_FS_*` */
const EXECUTE = 1n << 0n;
const WRITE_FILE = 1n << 1n;
const READ_FILE = 1n << 2n;
const READ_DIR = 1n << 3n;
/** REMOVE_DIR, REMOVE_FILE and every MAKE_*. */
const ENTRIES = 0x1ff0n;
const REFER = 1n << 13n;
const TRUNCATE = 1n << 14n;

/** `LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET` and `LANDLOCK_SCOPE_SIGNAL` */
const SCOPES = 3n;

/** What each ABI brought of what we use. */
export const landlockNeeds = { refer: 2, truncate: 3, scopes: 6 } as const;

/** `0` where the kernel has no Landlock, or has it switched off. */
export function landlockAbi(): number {
  if (process.platform !== 'linux') return 0;
  return Math.max(0, native.landlockCreate(SYS_CREATE_RULESET, null, 0, CREATE_RULESET_VERSION));
}

/** A directory with all below it, or one file. */
export interface FileRule {
  readonly path: string;
  /** `list`: names in directories alone. `write` includes `read`, and `read` to execute and to list. */
  readonly access: 'list' | 'read' | 'write';
}

function handledRights(abi: number): bigint {
  let rights = EXECUTE | WRITE_FILE | READ_FILE | READ_DIR | ENTRIES;
  if (abi >= landlockNeeds.refer) rights |= REFER;
  if (abi >= landlockNeeds.truncate) rights |= TRUNCATE;
  return rights;
}

/** Rights that mean something for a file; the kernel refuses a rule for a file with any other. */
const ofFiles = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE;

function rightsOf(access: FileRule['access'], handled: bigint): bigint {
  if (access === 'list') return READ_DIR;
  return access === 'read' ? EXECUTE | READ_FILE | READ_DIR : handled;
}

function createRuleset(files: bigint, scopes: bigint): number {
  const attributes = Buffer.alloc(24);
  attributes.writeBigUInt64LE(files, 0);
  attributes.writeBigUInt64LE(scopes, 16);
  // Older kernels refuse fields that they do not know, unless the structure ends before them.
  const ruleset = native.landlockCreate(SYS_CREATE_RULESET, attributes, scopes === 0n ? 8 : 24, 0);
  if (ruleset < 0) throw new Failure('failure', `cannot make a Landlock ruleset: ${errorName()}`);
  return ruleset;
}

function addRule(ruleset: number, path: string, rights: bigint): void {
  let descriptor: number;
  try {
    descriptor = openSync(path, O_PATH | O_CLOEXEC | constants.O_RDONLY);
  } catch {
    // It went away since it was listed, or we may not go there either: nothing is granted.
    return;
  }
  try {
    const allowed = statSync(`/proc/self/fd/${descriptor}`).isDirectory() ? rights : rights & ofFiles;
    if (allowed === 0n) return;
    const rule = Buffer.alloc(12);
    rule.writeBigUInt64LE(allowed, 0);
    rule.writeInt32LE(descriptor, 8);
    if (native.landlockAdd(SYS_ADD_RULE, ruleset, RULE_PATH_BENEATH, rule, 0) !== 0)
      throw new Failure('failure', `cannot add ${path} to a Landlock ruleset: ${errorName()}`);
  } finally {
    closeSync(descriptor);
  }
}

function restrict(ruleset: number): void {
  try {
    giveUpPrivileges();
    if (native.landlockRestrict(SYS_RESTRICT_SELF, ruleset, 0) !== 0)
      throw new Failure('failure', `cannot restrict this thread by Landlock: ${errorName()}`);
  } finally {
    closeSync(ruleset);
  }
}

/**
 * From now on this thread, and what it starts, sends no signal to and traces no process that is not restricted with it,
 * and connects to no abstract socket of others. Mounting stays possible, as a ruleset about files would not have it.
 * @returns whether the kernel can do that
 * @throws {Failure} when it can and refuses
 */
export function restrictScopes(abi: number): boolean {
  if (abi < landlockNeeds.scopes) return false;
  restrict(createRuleset(0n, SCOPES));
  return true;
}

/**
 * The same, and files only as `rules` allow: what no rule names cannot be read, written, executed or listed.
 * @throws {Failure} when the kernel refuses
 */
export function restrictFiles(abi: number, rules: readonly FileRule[]): void {
  const handled = handledRights(abi);
  const ruleset = createRuleset(handled, abi >= landlockNeeds.scopes ? SCOPES : 0n);
  for (const { path, access } of rules) addRule(ruleset, path, rightsOf(access, handled));
  restrict(ruleset);
}
