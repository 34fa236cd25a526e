/**
 * A private world: an ostiary like the user's own, with canaries for secrets, and an agent in it that `ostiary run` has
 * started as it starts any other. The agent is the attack kit.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import type { Server } from 'node:http';
import { basename, dirname, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AttackResult, Attempt, Brief, Target } from '../../../agents/attack/brief.ts';
import type { Order } from '../../../agents/attack/conduct.ts';
import { busAddress } from '../../../credentials/keychain/bus-address.ts';
import { type Environment, sealedForSpawn } from '../../../environment.ts';
import { Failure } from '../../../errors.ts';
import { limits } from '../../../limits.ts';
import { ControlClient } from '../../control.ts';
import { mainFile } from '../../main-file.ts';
import { McpClient } from '../../mcp-client.ts';
import { Canaries } from './canaries.ts';
import { attemptsOf, driveKit, kitFile } from './drive.ts';
import { bearerServer, furnish, isNode, jobVariable } from './furnish.ts';
import { Ground } from './ground.ts';
import { descendantsOf, describeProcess, type Process } from './process-table.ts';
import { behindSocket, inKeychain, inKeyrings, type Store, servicesHere } from './stores.ts';
import { attackAsStranger } from './stranger.ts';

/** The shell of a job, which has the job's secret in its environment while it waits for `ostiary run`. */
const job = '"$@"; exit $?';

const passed = ['USER', 'LOGNAME', 'LANG', 'LC_ALL', 'TZ', 'TERM'];

/** As a user of this world has it: where things are, and the way to the real Secret Service. */
function worldEnvironment(user: Environment, { places }: Ground): Record<string, string> {
  const bus = busAddress(user);
  const path = [
    join(places.home, '.local', 'bin'),
    dirname(process.execPath),
    '/usr/local/bin',
    '/usr/bin',
    '/bin',
  ];
  return {
    ...Object.fromEntries(passed.flatMap((name) => (user[name] === undefined ? [] : [[name, user[name]]]))),
    HOME: places.home,
    XDG_RUNTIME_DIR: places.runtime,
    PATH: path.join(':'),
    ...(bus !== null && { DBUS_SESSION_BUS_ADDRESS: bus.text }),
  };
}

function controlSocketBelow(directory: string): string | null {
  const found = readdirSync(directory, { recursive: true })
    .map(String)
    .find((path) => basename(path) === 'control.sock');
  return found === undefined ? null : join(directory, found);
}

interface DaemonStatus {
  readonly pid: number;
  readonly url: string | null;
  readonly upstreams: readonly { readonly name: string; readonly running: readonly number[] }[];
}

function targetOf({ pid, start, argv }: Process, name: string, role: Target['role']): Target {
  return { name, role, pid, start, node: role === 'daemon' || role === 'command' || isNode(argv) };
}

export interface WorldReport {
  readonly results: readonly AttackResult[];
  readonly canaries: Canaries;
  /** What `run` said of the level. */
  readonly level: string;
}

export class World {
  readonly #ground: Ground;
  readonly #env: Record<string, string>;
  readonly #canaries = new Canaries();
  readonly #clients: McpClient[] = [];
  #stores: Readonly<Record<'bus' | 'key' | 'abstractSocket' | 'runtimeSocket', Store>> | null = null;
  #server: Server | null = null;
  #shell: ChildProcess | null = null;
  #control: ControlClient | null = null;
  #daemon = 0;
  #briefed: Brief | null = null;
  #interrupted = false;

  private constructor(user: Environment) {
    this.#ground = new Ground(user);
    this.#env = worldEnvironment(user, this.#ground);
  }

  /**
   * Builds a world, lets the kit attack it, and takes it down.
   * @param isolation arguments of `run`
   * @param only numbers of attacks; empty: all
   * @throws {Failure} when the world could not be built, or did not last
   */
  static async attacked(
    user: Environment,
    isolation: readonly string[],
    only: readonly string[],
  ): Promise<WorldReport> {
    const world = new World(user);
    const interrupted = (): void => {
      world.#interrupted = true;
      world.#signal('SIGTERM');
    };
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupted);
    try {
      await world.#furnish(user);
      return await world.#attack(user, isolation, only);
    } finally {
      await world.#end();
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, interrupted);
    }
  }

  async #furnish(user: Environment): Promise<void> {
    const { places } = this.#ground;
    const name = `ostiary-attack-${basename(places.root).slice('.oa-'.length)}`;
    const canaries = this.#canaries;
    this.#stores = {
      bus: await inKeychain(user, name, canaries),
      key: inKeyrings(name, canaries),
      abstractSocket: await behindSocket(`\0${name}`, canaries.make('abstract')),
      runtimeSocket: await behindSocket(join(places.runtime, 'neighbour.sock'), canaries.make('runtime')),
    };
    const bearer = canaries.make('http');
    this.#server = await bearerServer(bearer);
    await furnish(this.#ground, this.#env, canaries, { bearer, server: this.#server });
    this.#ground.settle();
  }

  async #attack(
    user: Environment,
    isolation: readonly string[],
    only: readonly string[],
  ): Promise<WorldReport> {
    if (this.#interrupted) throw this.#failed('');
    const run = [process.execPath, mainFile, 'run', ...isolation, '--', process.execPath, kitFile];
    const shell = spawn('/bin/sh', ['-c', job, 'job', ...run], {
      cwd: this.#ground.places.project,
      env: sealedForSpawn({ ...this.#env, [jobVariable]: this.#canaries.make('job') }),
      stdio: ['pipe', 'pipe', 'pipe'],
      // A group of its own: the shell passes no signal on.
      detached: true,
    });
    this.#shell = shell;
    const deadline = setTimeout(() => this.#signal('SIGTERM'), limits.attacksMs);
    let said = '';
    shell.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    try {
      const { results, whole } = await driveKit(
        { stdin: shell.stdin as Writable, stdout: shell.stdout as Readable },
        () => this.#brief(user),
        only,
        {
          victims: async () => ({ targets: await this.#start('node') }),
          starts: () => this.#startMany(),
          inspect: async () => ({ changed: this.#ground.changed() }),
          use: async () => {
            await this.#useAgain();
            return { ran: this.#ground.ran() };
          },
          upstream: async () => ({ attempts: await this.#attackAsUpstream() }),
          stranger: async () => ({ attempts: await attackAsStranger(this.#briefed) }),
        },
      );
      if (!whole) throw this.#failed(said);
      return { results, canaries: this.#canaries, level: /^ostiary: (level .*)$/m.exec(said)?.[1] ?? '' };
    } finally {
      clearTimeout(deadline);
    }
  }

  #failed(said: string): Failure {
    if (this.#interrupted) return new Failure('failure', 'interrupted');
    const line = /^ostiary: (.*)$/m.exec(said.replace(/^ostiary: level .*$/gm, ''))?.[1];
    const hint = /^ {2}try: (.*)$/m.exec(said)?.[1];
    return new Failure('failure', `the attack could not be carried out: ${line ?? 'its agent ended early'}`, {
      ...(hint !== undefined && { hint }),
    });
  }

  /** Starts an upstream of each kind in a session of its own, and names everything that runs then. */
  async #brief(user: Environment): Promise<Brief> {
    const { places } = this.#ground;
    const stores = this.#stores;
    const control = controlSocketBelow(places.runtime);
    if (control === null || stores === null) throw new Failure('daemon', 'the world has no control socket');
    this.#control = new ControlClient(control);
    const { pid, url } = await this.#control.status<DaemonStatus>();
    this.#daemon = pid;
    const daemon = describeProcess(pid);
    if (daemon === null) throw new Failure('daemon', 'the world’s daemon has ended');
    const targets = [
      targetOf(daemon, 'daemon', 'daemon'),
      ...this.#commands(),
      ...(await this.#start('node', 'pipe', 'script', 'http')),
    ];
    this.#briefed = {
      targets,
      places,
      control: { at: control },
      endpoint: url === null ? { absent: 'no loopback endpoint' } : { at: url },
      bus: stores.bus.door,
      key: stores.key.door,
      abstractSocket: stores.abstractSocket.door,
      runtimeSocket: stores.runtimeSocket.door,
      ...servicesHere(user),
      ostiary: [process.execPath, mainFile],
      environment: this.#env,
    };
    return this.#briefed;
  }

  /** The job's shell, and `run` below it. */
  #commands(): Target[] {
    const pid = this.#shell?.pid ?? 0;
    const shell = describeProcess(pid);
    const run = descendantsOf(pid).find(({ argv }) => argv[1] === mainFile && argv[2] === 'run');
    return [
      ...(shell === null ? [] : [targetOf(shell, 'job', 'job')]),
      ...(run === undefined ? [] : [targetOf(run, 'run', 'command')]),
    ];
  }

  async #connect(
    upstream: string,
  ): Promise<{ readonly client: McpClient; readonly end: () => Promise<void> }> {
    const control = this.#control as ControlClient;
    const { id, socket } = await control.openSession({
      profile: 'default',
      label: 'attacked',
      lease: false,
      token: false,
    });
    const client = new McpClient(socket, upstream);
    await client.initialize();
    this.#clients.push(client);
    return {
      client,
      end: async () => {
        await client.close();
        await control.endSession(id);
      },
    };
  }

  /** @returns the processes that this brought */
  async #start(...names: readonly string[]): Promise<Target[]> {
    const before = await this.#running();
    await Promise.all(names.map((name) => this.#connect(name)));
    const now = await this.#running();
    return names.flatMap((name) =>
      [...(now.get(name) ?? [])]
        .filter((pid) => before.get(name)?.has(pid) !== true)
        .flatMap((pid) => [describeProcess(pid) ?? [], ...descendantsOf(pid)].flat())
        .map((each) => targetOf(each, name, each.argv[0] === 'sleep' ? 'descendant' : 'upstream')),
    );
  }

  /** Upstream → the processes that the daemon has started for it. */
  async #running(): Promise<Map<string, ReadonlySet<number>>> {
    const { upstreams } = await (this.#control as ControlClient).status<DaemonStatus>();
    return new Map(upstreams.map(({ name, running }) => [name, new Set(running)]));
  }

  async #startMany(): Promise<{ starts: number }> {
    const deadline = performance.now() + limits.racedStartsMs;
    let starts = 0;
    while (starts < limits.racedStarts && performance.now() < deadline) {
      const connected = await Promise.all([this.#connect('node'), this.#connect('node')]);
      starts += connected.length;
      await Promise.all(connected.map(({ end }) => end()));
    }
    return { starts };
  }

  /** F6: what the user's own upstreams could do to each other. */
  async #attackAsUpstream(): Promise<Attempt[]> {
    const { client, end } = await this.#connect('spy');
    const order: Order = { brief: this.#briefed as Brief, only: ['A1', 'A2', 'A3', 'A4'] };
    const params = { name: 'attack', arguments: order };
    const { content } = await client.request<{ content: { text: string }[] }>('tools/call', params);
    await end();
    return attemptsOf(JSON.parse(content[0]?.text ?? '[]') as AttackResult[]);
  }

  /** The user's next command, from the project, with an upstream started anew. */
  async #useAgain(): Promise<void> {
    const child = spawn(process.execPath, [mainFile, 'list', 'node'], {
      cwd: this.#ground.places.project,
      env: sealedForSpawn(this.#env),
      stdio: 'ignore',
    });
    await once(child, 'exit');
  }

  /** To the shell, `run` and the kit. */
  #signal(signal: NodeJS.Signals): void {
    const shell = this.#shell;
    if (shell?.pid === undefined || shell.exitCode !== null || shell.signalCode !== null) return;
    process.kill(-shell.pid, signal);
  }

  async #end(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()));
    const shell = this.#shell;
    if (shell !== null && shell.exitCode === null && shell.signalCode === null) {
      const gone = once(shell, 'exit');
      // The kit ends with its input, `run` with the kit, the shell with `run`.
      shell.stdin?.destroy();
      const timer = setTimeout(() => this.#signal('SIGKILL'), limits.daemonStopMs);
      await gone;
      clearTimeout(timer);
    }
    while (this.#daemon !== 0 && describeProcess(this.#daemon) !== null) await sleep(limits.pollMs);
    this.#server?.close();
    this.#server?.closeAllConnections();
    for (const store of Object.values(this.#stores ?? {})) await store.remove();
    this.#ground.remove();
  }
}
