/**
 * A PID namespace around one child, by bubblewrap: what it starts cannot outlive it, by no double fork and no `setsid`,
 * and it sees and signals nobody outside (F5, F6). Where ostiary keeps its state it sees an empty directory.
 *
 * bubblewrap's own processes can be read by everybody of their user. So they get no secret: a shell that nobody can read
 * takes the environment from the child's standard input before the program does; and they do not keep the child's
 * standard input and output, for those are handed to them as further descriptors, of which they keep none.
 */

/** Runs in the namespace before the program. */
export const SHELL = '/bin/sh';

/** Variables must be names that a shell can export, and descriptors of its redirections have one digit. */
const NAME = /^[A-Za-z_]\w*$/;
const LAST_DESCRIPTOR = 9;

/** What shells do not let anybody set, or set themselves. */
const SHELLS_OWN = /^(?:PPID|UID|EUID|OPTIND|BASHOPTS|SHELLOPTS|ostiary_line)$/;

export interface Wrapping {
  /** Of bubblewrap. */
  readonly bubblewrap: string;
  /** Which the child may not look into. */
  readonly hidden: readonly string[];
  /** Which it may, wherever they are. */
  readonly visible: readonly string[];
  readonly readOnly: readonly string[];
  /** Path without links → what is to be there instead. */
  readonly copies: ReadonlyMap<string, string>;
}

/** The child's standard input among the descriptors of bubblewrap; its standard output is the next one. */
export function inputDescriptor(descriptors: number): number {
  return 3 + descriptors;
}

/** Why a child with these variables and that many further descriptors cannot be started this way, or `null`. */
export function unfit(variables: readonly string[], descriptors: number): string | null {
  if (inputDescriptor(descriptors) + 1 > LAST_DESCRIPTOR) return 'it is given too many descriptors';
  const name = variables.find((each) => !NAME.test(each) || SHELLS_OWN.test(each));
  return name === undefined ? null : 'it is given a variable that belongs to shells';
}

/**
 * Reads lines `NAME='text'` up to an empty one. `$0` is a line break, since a line cannot have one. Should the input end
 * before, we are dead, and nothing is started.
 */
function shellScript(input: number): string {
  return [
    'unset PWD OLDPWD SHLVL',
    `exec <&${input} >&${input + 1} ${input}<&- ${input + 1}>&-`,
    'while IFS= read -r ostiary_line; do [ -n "$ostiary_line" ] || exec "$@"; eval "export $ostiary_line"; done',
    'exit 1',
  ].join('\n');
}

/** What the shell is told first. */
export function environmentLines(env: Readonly<Record<string, string>>): string {
  const lines = Object.entries(env).map(([name, value]) => {
    const quoted = value.replaceAll("'", `'\\''`).replaceAll('\n', `'"$0"'`);
    return `${name}='${quoted}'\n`;
  });
  return `${lines.join('')}\n`;
}

/**
 * Arguments of bubblewrap.
 * @param descriptors how many the child has beyond the standard ones
 */
export function wrap(
  command: string,
  args: readonly string[],
  cwd: string,
  descriptors: number,
  { hidden, visible, readOnly, copies }: Wrapping,
): string[] {
  return [
    ...['--unshare-pid', '--die-with-parent'],
    // A process group that bubblewrap's outer process is not in: that one would die of the SIGTERM that asks the child.
    '--new-session',
    ...['--dev-bind', '/', '/', '--proc', '/proc'],
    ...[...copies].flatMap(([path, copy]) => ['--ro-bind', copy, path]),
    ...hidden.flatMap((path) => ['--tmpfs', path]),
    ...visible.flatMap((path) => ['--bind', path, path]),
    ...readOnly.flatMap((path) => ['--ro-bind', path, path]),
    ...['--chdir', cwd],
    ...['--', SHELL, '-c', shellScript(inputDescriptor(descriptors)), '\n', command, ...args],
  ];
}
