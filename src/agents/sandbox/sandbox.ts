/**
 * The sandbox of one agent (level L1). {@link openSandbox} finds out what works on this machine and holds it ready;
 * {@link Sandbox.launch} starts any command in it, as `ostiary run` starts its agent.
 */
import { mkdirSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { sandboxEnvironment } from '../../environment.ts';
import { limits } from '../../limits.ts';
import { adoptOrphans, descendants, endAll, isRestricted, parents } from '../../os/process.ts';
import { homeDirectory } from '../../paths.ts';
import { type AgentExit, type AgentSpec, runAgent, withSignals } from '../launch.ts';
import { bubblewrapOptions } from './bubblewrap.ts';
import { checkVisible, findCommand } from './command.ts';
import { fileRules } from './file-rules.ts';
import {
  type Abilities,
  chooseMechanism,
  describeLevel,
  type Isolation,
  type Mechanism,
  noAbilities,
} from './isolation.ts';
import { type Launcher, startLauncher } from './launcher-process.ts';
import type { Order } from './orders.ts';
import {
  noSurvey,
  ownDirectories,
  type SessionPlaces,
  type Surroundings,
  type Survey,
  sandboxView,
  survey,
} from './places.ts';
import { seatbeltCommand } from './seatbelt.ts';
import { starterFor } from './starter.ts';
import type { View } from './view.ts';

/** Kills what is registered when we are killed; the watchdog of `run`. */
export interface Guard {
  guardProcess(pid: number): void;
  releaseProcess(pid: number): void;
}

/** What is to run, and what it is to see. */
export interface SandboxedAgent extends AgentSpec, Omit<SessionPlaces, 'runtime'> {
  readonly surroundings: Surroundings;
  /** Of its surroundings, by this sandbox. */
  readonly survey: Survey;
}

export interface Sandbox {
  readonly mechanism: Mechanism;
  /** The level in force, in one line. */
  readonly level: string;
  /** Whether the agent can reach its session's Unix socket; else it has loopback TCP and a token in its environment. */
  readonly unixSockets: boolean;
  /**
   * Looks around for {@link launch}: it takes some milliseconds, in which others may be asked for something.
   * @throws {Failure} naming the flag and the path that cannot be had
   */
  readonly survey: (surroundings: Surroundings) => Survey;
  /**
   * Starts the agent, once, and resolves when it and all that it started have ended.
   * @throws {Failure} when the command cannot be had
   */
  launch(agent: SandboxedAgent, guard: Guard): Promise<AgentExit>;
  /** Ends a sandbox that was not used. */
  close(): void;
}

function directoryEntries(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => !entry.isSymbolicLink())
      .map(({ name }) => name);
  } catch {
    return [];
  }
}

/** Of an agent that bubblewrap waits for: 128 + n stands for signal n, as in a shell. */
function fromBubblewrap({ code, signal }: AgentExit): AgentExit {
  const found = Object.entries(constants.signals).find(([, number]) => number + 128 === code);
  return found === undefined ? { code, signal } : { code: null, signal: found[0] as NodeJS.Signals };
}

/** In its namespace the agent is process 2, below bubblewrap's init. */
function agentBelow(bubblewrap: number): number | undefined {
  return descendants(bubblewrap).find((pid) => {
    try {
      return /^NSpid:.*\t2$/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
    } catch {
      return false;
    }
  });
}

/** bubblewrap itself passes no signal on. One that comes before there is an agent waits for it. */
function deliverTo(launcher: Launcher, mechanism: Mechanism): (signal: NodeJS.Signals) => void {
  if (mechanism === 'landlock') return (signal) => launcher.kill(signal);
  const deliver = (signal: NodeJS.Signals): void => {
    const agent = agentBelow(launcher.pid);
    if (agent !== undefined) process.kill(agent, signal);
    else if (launcher.running) setTimeout(deliver, limits.pollMs, signal);
  };
  return deliver;
}

/** What became ours when the launcher was killed; of our children only an agent's descendants are restricted. */
function orphans(): number[] {
  const adopted = [...parents()].filter(([pid, parent]) => parent === process.pid && isRestricted(pid));
  return adopted.flatMap(([pid]) => [pid, ...descendants(pid)]);
}

function variablesOf({ env, surroundings }: SandboxedAgent): Record<string, string> {
  const { profile, callerEnv } = surroundings;
  const home = homeDirectory(callerEnv);
  const own = Object.entries(profile.variables).map(([name, path]) => [name, join(home, path)] as const);
  return { ...Object.fromEntries(own), ...env };
}

function viewFor(agent: SandboxedAgent, mechanism: Mechanism): { view: View; runtime: string } {
  const bubblewrap = mechanism === 'bubblewrap';
  const runtime = bubblewrap
    ? join('/run/user', String(process.getuid?.() ?? 0))
    : join(realpathSync(agent.sessionDirectory), 'tmp');
  if (!bubblewrap) mkdirSync(runtime, { mode: 0o700 });
  const view = sandboxView(agent.survey, {
    ...agent,
    runtime: { path: runtime, access: bubblewrap ? 'private' : 'write' },
  });
  return { view, runtime };
}

class LaunchedSandbox implements Sandbox {
  readonly mechanism: Mechanism;
  readonly level: string;
  readonly unixSockets: boolean;
  readonly survey = survey;
  readonly #launcher: Launcher;
  readonly #abilities: Abilities;

  constructor(launcher: Launcher, mechanism: Mechanism, abilities: Abilities) {
    this.mechanism = mechanism;
    this.level = describeLevel(mechanism, abilities);
    this.unixSockets = mechanism === 'bubblewrap';
    this.#launcher = launcher;
    this.#abilities = abilities;
  }

  async launch(agent: SandboxedAgent, guard: Guard): Promise<AgentExit> {
    const { mechanism } = this;
    const order = this.#order(agent);
    const launcher = this.#launcher;
    if (mechanism === 'landlock') adoptOrphans();
    // Landlock's launcher ends what is below it when we are gone, and must not be killed before it has.
    else guard.guardProcess(launcher.pid);
    const exit = await withSignals(deliverTo(launcher, mechanism), () => {
      launcher.start(order);
      return launcher.exited;
    });
    if (mechanism !== 'landlock') {
      guard.releaseProcess(launcher.pid);
      return fromBubblewrap(exit);
    }
    if (!launcher.leftNothing) await endAll(orphans, true);
    return exit;
  }

  #order(agent: SandboxedAgent): Order {
    const { args } = agent;
    const { directory } = agent.surroundings;
    const { view, runtime } = viewFor(agent, this.mechanism);
    const file = findCommand(agent.command, agent.env.PATH, directory);
    checkVisible(file, view);
    const common = { file, args, directory: realpathSync(directory) };
    const { bubblewrap } = this.#abilities;
    if (this.mechanism === 'bubblewrap' && bubblewrap.works) {
      const terminal = [process.stdin, process.stdout, process.stderr].some(({ isTTY }) => isTTY);
      const options = bubblewrapOptions(bubblewrap.flags, { view, directory: common.directory, terminal });
      const env = sandboxEnvironment(variablesOf(agent), { runtime, tmp: '/tmp' });
      const { program } = bubblewrap;
      const starter = starterFor(file, bubblewrap.starter);
      return { by: 'bubblewrap', program, options, starter, env, ...common };
    }
    const env = sandboxEnvironment(variablesOf(agent), { runtime, tmp: runtime });
    return { by: 'landlock', rules: fileRules(view, directoryEntries), env, ...common };
  }

  close(): void {
    this.#launcher.close();
  }
}

/** Without a launcher: nothing is given up that a process of ours would have to give up first. */
function plainSandbox(mechanism: 'none' | 'seatbelt'): Sandbox {
  return {
    mechanism,
    level: describeLevel(mechanism, noAbilities),
    unixSockets: true,
    survey: mechanism === 'none' ? () => noSurvey : survey,
    launch: async (agent, guard) => {
      const { callerEnv } = agent.surroundings;
      const paths = () => ({
        home: homeDirectory(callerEnv),
        own: ownDirectories(callerEnv),
        session: realpathSync(agent.sessionDirectory),
      });
      const spec = mechanism === 'none' ? agent : seatbeltCommand(agent, paths());
      let pid = 0;
      const exit = await runAgent(spec, (started) => {
        pid = started;
        guard.guardProcess(pid);
      });
      // Its number is free for others now.
      guard.releaseProcess(pid);
      return exit;
    },
    close: () => {},
  };
}

/**
 * Finds by trying which sandbox this machine can make.
 * @param launcher started before; it is used, or ended
 * @throws {Failure} of kind `isolation` when it is not what was wished for, or nothing works
 */
export async function openSandbox(
  wish: Isolation,
  launcher: Launcher | null = startLauncher(wish),
): Promise<Sandbox> {
  try {
    const abilities = launcher === null || wish === 'none' ? noAbilities : await launcher.report;
    const mechanism = chooseMechanism(wish, abilities);
    if (mechanism !== 'none' && mechanism !== 'seatbelt' && launcher !== null)
      return new LaunchedSandbox(launcher, mechanism, abilities);
    launcher?.close();
    return plainSandbox(mechanism === 'seatbelt' ? 'seatbelt' : 'none');
  } catch (error) {
    launcher?.close();
    throw error;
  }
}
