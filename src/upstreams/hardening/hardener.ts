/**
 * How a program is started so that other processes of its user cannot read it: under a copy that nobody can read, with
 * Node's inspector closed, in a namespace of its own. What cannot be had is reported, and the child started without.
 */
import { existsSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { fixedPath } from '../../environment.ts';
import { isExecutable } from '../../executable.ts';
import { type Bubblewrap, bubblewrap } from '../../os/index.ts';
import { Copies, secondGroup } from './copies.ts';
import { readElf } from './elf.ts';
import { type Resolved, resolveProgram } from './interpreters.ts';
import { type Hardening, inForce, type Measure, notInForce } from './measures.ts';
import { SHELL, unfit, type Wrapping, wrap } from './namespace.ts';
import { inspectorFlags, nodeVersion } from './node-flags.ts';

export interface Program {
  readonly command: string;
  readonly args: readonly string[];
  readonly hardening: Hardening;
  /** Whether another user than the daemon's runs it: who could read it is that user alone. */
  readonly foreign: boolean;
  /** Literal variables of the configuration: some say what runs. */
  readonly env: Readonly<Record<string, string>>;
  /** Names of all variables that the configuration gives it. */
  readonly variables: readonly string[];
  /** How many descriptors it has beyond the standard ones. */
  readonly descriptors: number;
  /** Directories of ours that it has to see, read only. */
  readonly needs: readonly string[];
}

/** What is run in place of a program. */
export interface Command {
  readonly command: string;
  /** The name under which it is run, if not `command`. */
  readonly argv0: string | null;
  readonly args: readonly string[];
}

export interface Plan extends Command {
  /** `null`: the child is in the namespaces of the daemon. */
  readonly namespace: (Omit<Wrapping, 'visible'> & { readonly descriptors: number }) | null;
  readonly measures: readonly Measure[];
}

export interface HardenerPorts {
  /** Of ours; copies of programs are kept in it. */
  readonly stateDirectory: string;
  /** Where our sockets, the children's directories and our credentials are; of other daemons of this user, too. */
  readonly otherDirectories: readonly string[];
  readonly bubblewrap?: () => Promise<Bubblewrap>;
}

const SETPRIV = '/usr/bin/setpriv';

/** What programs start others with: unreadable too, these keep what they hand on from being read on its way. */
const SHELLS = [SHELL, '/bin/bash', '/usr/bin/env'];

const isRoot = process.getuid?.() === 0;

/** Every measure, when none is taken. */
function none(detail: string): Measure[] {
  const all = ['unreadable', 'inspector', 'namespace', 'no new privileges'] as const;
  return all.map((measure) => notInForce(measure, detail));
}

function describe(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message;
}

/** Those that are in none of the others. */
function outermost(directories: readonly string[]): string[] {
  return [...new Set(directories)].filter(
    (one) => !directories.some((other) => one !== other && one.startsWith(`${other}/`)),
  );
}

/** A program, and what is known of it. */
interface Known {
  readonly program: Program;
  /** `null` when the first line of its script is not understood, or something is missing. */
  readonly resolved: Resolved | null;
  /** What a Node program is to be started with; `null` for others. */
  readonly node: Command | null;
}

async function know(program: Program): Promise<Known> {
  const resolved = resolveProgram(program.command, program.env.PATH ?? fixedPath());
  const version = resolved === null ? null : await nodeVersion(resolved.program);
  if (resolved === null || version === null) return { program, resolved, node: null };
  const options = program.env.NODE_OPTIONS?.split(' ') ?? [];
  const flags = inspectorFlags(version, [...options, ...resolved.args, ...program.args]);
  const args = [...flags, ...resolved.args, ...program.args];
  return { program, resolved, node: { command: resolved.program, argv0: null, args } };
}

/** The program as it is. */
export function unhardened(
  { command, args }: { readonly command: string; readonly args: readonly string[] },
  measures: readonly Measure[] = [],
): Plan {
  return { command, argv0: null, args, namespace: null, measures };
}

export class Hardener {
  readonly #ports: HardenerPorts;
  readonly #copies: Copies;

  constructor(ports: HardenerPorts) {
    this.#ports = ports;
    this.#copies = new Copies(join(ports.stateDirectory, 'programs'));
  }

  /** Never rejects: what cannot be had is among the measures, as not in force. */
  async plan(program: Program): Promise<Plan> {
    if (program.foreign) return unhardened(program, none('not needed: it runs as another user'));
    if (program.hardening === 'off') return unhardened(program, none('hardening: off in the configuration'));
    // Then the error of its start says best what is wrong.
    if (!isExecutable(program.command)) return unhardened(program, none('it cannot be executed'));
    try {
      const known = await know(program);
      const room = await this.#room(program);
      return 'path' in room
        ? await this.#wrapped(known, room.path)
        : await this.#direct(known, notInForce('namespace', room.missing));
    } catch (error) {
      return unhardened(program, none(`could not be prepared: ${describe(error)}`));
    }
  }

  /** bubblewrap, if this program may be started in it. */
  async #room({ hardening, variables, descriptors }: Program): Promise<Bubblewrap> {
    if (hardening === 'process') return { missing: 'hardening: process in the configuration' };
    const misfit = unfit(variables, descriptors);
    if (misfit !== null) return { missing: misfit };
    if (!isRoot && secondGroup() === null)
      return { missing: 'this user is in one group alone: there the child could be traced' };
    // It is told the environment: a readable one would give it away.
    const shell = isRoot ? null : await this.#closed(realpathSync(SHELL), true);
    if (shell !== null && typeof shell !== 'string') return { missing: shell.detail ?? SHELL };
    return (this.#ports.bubblewrap ?? bubblewrap)();
  }

  /** A copy that nobody can read, or why there is none. `inPlace`: it is seen where the program is. */
  async #closed(binary: string, inPlace: boolean): Promise<string | Measure> {
    if (isRoot) return notInForce('unreadable', 'root reads every process: run the daemon as another user');
    if (process.platform !== 'linux') return notInForce('unreadable', `not done on ${process.platform}`);
    const elf = readElf(binary);
    if (elf === null) return notInForce('unreadable', `${binary} is of a form that is not known`);
    if (elf.readsItself) return notInForce('unreadable', `${binary} reads its own file`);
    if (elf.needsItsPlace && !inPlace)
      return notInForce('unreadable', `${binary} has its libraries beside itself, and there is no namespace`);
    try {
      return await this.#copies.of(binary);
    } catch (error) {
      return notInForce('unreadable', `${binary} could not be copied: ${describe(error)}`);
    }
  }

  async #wrapped({ program, resolved, node }: Known, path: string): Promise<Plan> {
    const copies = new Map<string, string>();
    let unreadable =
      resolved === null
        ? notInForce('unreadable', 'its first line is not understood')
        : inForce('unreadable');
    const own = resolved?.binaries ?? [];
    const shells = SHELLS.filter((shell) => existsSync(shell)).map((shell) => realpathSync(shell));
    for (const binary of new Set([...own, ...shells])) {
      const closed = await this.#closed(binary, true);
      if (typeof closed === 'string') copies.set(binary, closed);
      else if (own.includes(binary)) unreadable = closed;
    }
    const { stateDirectory, otherDirectories } = this.#ports;
    return {
      ...(node ?? { command: program.command, argv0: null, args: program.args }),
      namespace: {
        bubblewrap: path,
        hidden: outermost([stateDirectory, ...otherDirectories].filter((directory) => existsSync(directory))),
        readOnly: program.needs,
        copies,
        descriptors: program.descriptors,
      },
      measures: [unreadable, inForce('inspector'), inForce('namespace'), inForce('no new privileges')],
    };
  }

  /** Without a namespace the copy itself is run. */
  async #direct({ program, resolved, node }: Known, namespace: Measure): Promise<Plan> {
    const binary = resolved?.binaries.at(-1);
    const closed =
      binary === undefined
        ? notInForce('unreadable', 'its first line is not understood')
        : await this.#closed(binary, false);
    const copy = typeof closed === 'string' ? closed : null;
    const measures = [
      typeof closed === 'string' ? inForce('unreadable') : closed,
      inForce('inspector'),
      namespace,
    ];
    if (node === null || resolved === null) {
      const privileges = notInForce('no new privileges', 'there is no namespace, and it is no Node program');
      const run: Command =
        copy === null || resolved === null
          ? { command: program.command, argv0: null, args: program.args }
          : // Programs look for their files where their name says that they are.
            { command: copy, argv0: resolved.program, args: [...resolved.args, ...program.args] };
      return { ...run, namespace: null, measures: [...measures, privileges] };
    }
    const run = copy === null ? node : { ...node, command: copy };
    const setpriv = await this.#setpriv(copy !== null);
    if (setpriv === null)
      return {
        ...run,
        namespace: null,
        measures: [...measures, notInForce('no new privileges', 'setpriv cannot be used')],
      };
    return {
      command: setpriv,
      argv0: null,
      args: ['--no-new-privs', run.command, ...run.args],
      namespace: null,
      measures: [...measures, inForce('no new privileges')],
    };
  }

  /** It has the child's environment before the child: a readable one would give it away. */
  async #setpriv(unreadable: boolean): Promise<string | null> {
    if (process.platform !== 'linux' || !existsSync(SETPRIV)) return null;
    if (!unreadable) return SETPRIV;
    const closed = await this.#closed(realpathSync(SETPRIV), false);
    return typeof closed === 'string' ? closed : null;
  }
}

/**
 * One child's command.
 * @param own the directory of ours that is the child's own
 */
export function commandOf(plan: Plan, cwd: string, own: string): Command {
  const { command, argv0, args, namespace } = plan;
  if (namespace === null) return { command, argv0, args };
  const wrapped = wrap(command, args, cwd, namespace.descriptors, { ...namespace, visible: [own] });
  return { command: namespace.bubblewrap, argv0: null, args: wrapped };
}
