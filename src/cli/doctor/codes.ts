/** Every code that `ostiary doctor` prints; `docs/doctor.md` lists each, and a test compares the two. */
import type { ExitKind } from '../../errors.ts';

/** `skip`: not looked at, and the message says why. */
export type Level = 'pass' | 'warn' | 'fail' | 'skip';

/** A code means one thing at one level, so that scripts need no other word of a finding. */
export const codes = {
  'config.ok': 'pass',
  'config.absent': 'fail',
  'config.invalid': 'fail',
  'config.unknown-reference': 'fail',
  'config.plain-secret': 'fail',
  'config.untrusted': 'fail',
  'config.no-upstreams': 'fail',
  'config.no-policy': 'warn',
  'config.no-default-profile': 'warn',
  'config.unused-helper': 'warn',
  'config.secret-literal': 'warn',
  'config.program-missing': 'fail',
  'config.program-replaceable': 'warn',
  'config.helper-refused': 'fail',
  'config.warning': 'warn',

  'files.ok': 'pass',
  'files.directory': 'fail',
  'files.mode': 'fail',
  'files.owner': 'fail',
  'files.program-replaceable': 'warn',

  'vault.ok': 'pass',
  'vault.key-file': 'warn',
  'vault.unused': 'pass',
  'vault.missing': 'fail',
  'vault.sealed': 'skip',
  'vault.closed': 'fail',
  'vault.damaged': 'fail',

  'secret.ok': 'pass',
  'secret.unavailable': 'fail',
  'secret.short': 'warn',
  'secret.unchecked': 'skip',

  'login.ok': 'pass',
  'login.automatic': 'pass',
  'login.not-renewable': 'warn',
  'login.problem': 'warn',
  'login.needed': 'fail',
  'login.unchecked': 'skip',

  'keychain.ok': 'pass',
  'keychain.unused': 'pass',
  'keychain.absent': 'fail',
  'keychain.locked': 'fail',
  'keychain.failed': 'fail',

  'daemon.ok': 'pass',
  'daemon.none': 'pass',
  'daemon.version': 'fail',
  'daemon.outdated': 'warn',
  'daemon.unhardened': 'warn',
  'daemon.upstream-given-up': 'warn',
  'daemon.stale-socket': 'warn',
  'daemon.stale-sessions': 'warn',
  'daemon.no-answer': 'fail',
  'daemon.unreachable': 'fail',
  'daemon.path-too-long': 'fail',
  'port.ok': 'pass',
  'port.taken': 'fail',

  'upstream.ok': 'pass',
  'upstream.failed': 'fail',
  'upstream.no-answer': 'fail',
  'upstream.not-allowed': 'warn',
  'upstream.disabled': 'skip',
  'upstream.unchecked': 'skip',
  'upstream.no-daemon': 'fail',

  'program.ok': 'pass',
  'program.node-unsupported': 'fail',
  'program.npm-missing': 'warn',
  'program.koffi-missing': 'fail',
  'program.peer-unknown': 'fail',
  'program.inspector-open': 'warn',

  'isolation.level-1': 'pass',
  'isolation.level-0': 'warn',
  'isolation.refused': 'fail',
  'isolation.bubblewrap': 'pass',
  'isolation.bubblewrap-absent': 'warn',
  'isolation.bubblewrap-refused': 'warn',
  'isolation.landlock': 'pass',
  'isolation.landlock-old': 'warn',
  'isolation.landlock-absent': 'warn',
  'isolation.seccomp': 'pass',
  'isolation.seccomp-absent': 'warn',
  'system.ptrace': 'pass',
  'system.ptrace-open': 'warn',
  'system.core': 'pass',
  'system.core-piped': 'warn',
  'system.swap': 'pass',
  'system.swap-on-disk': 'warn',
  'privilege.ok': 'pass',
  'privilege.root': 'warn',
  'privilege.sudo': 'warn',
  'privilege.docker': 'warn',

  'environment.ok': 'pass',
  'environment.secrets': 'warn',
  'clients.ok': 'pass',
  'clients.secret': 'warn',

  'audit.ok': 'pass',
  'audit.none': 'pass',
  'audit.broken': 'fail',
  'audit.unverified': 'skip',
  'audit.large': 'warn',
  'log.large': 'warn',

  'check.no-answer': 'fail',
  'check.crashed': 'fail',
} as const satisfies Readonly<Record<string, Level>>;

export type Code = keyof typeof codes;

type CodeOf<Wanted extends Level> = {
  [Each in Code]: (typeof codes)[Each] extends Wanted ? Each : never;
}[Code];

/** Of a finding that asks for nothing. */
export type QuietCode = CodeOf<'pass' | 'skip'>;
/** Of one that says what to do next. */
export type ProblemCode = CodeOf<'warn' | 'fail'>;

/** The kind of exit code that a failure of this area means, in the scheme of `errors.ts`. */
const kinds: Readonly<Record<string, ExitKind>> = {
  config: 'config',
  files: 'config',
  vault: 'credential',
  secret: 'credential',
  login: 'credential',
  keychain: 'credential',
  daemon: 'daemon',
  port: 'daemon',
  upstream: 'upstream',
  isolation: 'isolation',
  audit: 'audit',
};

export function exitKindOf(code: Code): ExitKind {
  return kinds[code.split('.')[0] as string] ?? 'failure';
}
