/** `ostiary run -- AGENT…`: an agent with a session, and without a secret in its environment or configuration. */
import { rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { Command, Option } from 'commander';
import type { AgentExit } from '../agents/launch.ts';
import { renderMcpConfig } from '../agents/mcp-config.ts';
import { type Isolation, isolations } from '../agents/sandbox/isolation.ts';
import { type Launcher, startLauncher } from '../agents/sandbox/launcher-process.ts';
import { agentNames, profileFor } from '../agents/sandbox/profiles.ts';
import { openSandbox, type Sandbox, type SandboxedAgent } from '../agents/sandbox/sandbox.ts';
import { loadConfig } from '../config/load.ts';
import type { Config } from '../config/types.ts';
import { agentEnvironment } from '../environment.ts';
import { Failure } from '../errors.ts';
import { Watchdog } from '../os/watchdog.ts';
import { addCiOptions, CiJob, type CiOptions } from './ci/job.ts';
import type { ControlClient, Lease } from './control.ts';
import { type DaemonChoice, findDaemon } from './find-daemon.ts';
import { mainFile } from './main-file.ts';
import { passphraseFdOption } from './vault.ts';

interface RunOptions extends DaemonChoice, CiOptions {
  readonly profile: string;
  readonly configOut?: string;
  readonly http?: boolean;
  readonly merged?: boolean;
  readonly env: readonly string[];
  readonly isolation?: Isolation;
  readonly agent?: string;
  readonly rw: readonly string[];
  readonly ro: readonly string[];
  readonly hide: readonly string[];
  readonly quiet?: boolean;
}

/** Stands for the path of the generated configuration among the agent's arguments. */
const PLACEHOLDER = '{mcp-config}';

/** The allow-list first, then whatever of it holds a secret by name or value goes too. */
async function cleanEnvironment(
  client: ControlClient,
  pass: readonly string[],
): Promise<Record<string, string>> {
  const kept = agentEnvironment(process.env, { pass, removeNames: [] });
  const removeNames = await client.secretsIn(kept);
  return agentEnvironment(process.env, { pass, removeNames });
}

/** Ends this process the way that the agent ended, so that a shell sees the same. */
function endAs({ code, signal }: AgentExit): void {
  if (signal === null) {
    process.exitCode = code ?? 1;
    return;
  }
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
  // Where the signal is ignored: what a shell would report.
  process.exitCode = 1;
}

/** The file is removed at the end, so it must not be one that was there before. */
function writeNew(path: string, text: string): void {
  try {
    writeFileSync(path, text, { flag: 'wx', mode: 0o600 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Failure('usage', code === 'EEXIST' ? 'file exists already' : `cannot be written: ${code}`, {
      place: { file: path },
      hint: 'give --config-out a new file: it is removed when the agent ends',
    });
  }
}

/** By which the agent reaches its session, and the variables that say so to programs of ours and of others. */
function reach(lease: Lease, sandbox: Sandbox, http: boolean) {
  const { socket, url, token } = lease.report;
  if (sandbox.unixSockets)
    return {
      config: { socket, url: http ? (url ?? undefined) : undefined },
      env: { OSTIARY_SOCKET: socket },
    };
  if (url === null || token === undefined)
    throw new Failure(
      'isolation',
      'an agent without Unix sockets needs the loopback endpoint, which is not there',
    );
  return {
    config: { socket, url, tokenVariable: 'OSTIARY_TOKEN' },
    env: { OSTIARY_URL: url, OSTIARY_TOKEN: token },
  };
}

/**
 * Whether the agent can be told from other programs of this user by its descent from us: nothing leaves the PID namespace
 * of bubblewrap, and Landlock's orphans become ours. The daemon of another user does not see which process has a
 * connection on TCP, which is what `--http` wishes for, and all that Landlock leaves the agent.
 */
function staysBelowUs({ mechanism }: Sandbox, { daemon, http }: RunOptions): boolean {
  if (mechanism === 'landlock') return daemon === undefined;
  return mechanism === 'bubblewrap' && (daemon === undefined || http !== true);
}

/** @param early started while this was loaded; `null` when it could not be told yet which one is needed */
async function run(
  early: Launcher | null,
  command: string,
  args: readonly string[],
  options: RunOptions,
): Promise<void> {
  const config = loadConfig({ config: options.config, env: process.env });
  if (config.upstreams.size === 0 && options.daemon === undefined)
    throw new Failure('config', 'no upstreams are configured', {
      hint: 'ostiary config example prints a starter; ostiary config path says where it goes',
    });
  const job = await CiJob.prepare(config, options);
  // Not before the job's secrets are read: the agent gets its standard input from the launcher.
  const launcher = early ?? startLauncher(options.isolation ?? 'auto');
  try {
    await runWith(launcher, { config, job }, command, args, options);
  } finally {
    launcher?.close();
  }
}

async function runWith(
  launcher: Launcher | null,
  { config, job }: { readonly config: Config; readonly job: CiJob | null },
  command: string,
  args: readonly string[],
  options: RunOptions,
): Promise<void> {
  const profile = profileFor(command, options.agent);
  const daemon = await (job === null ? findDaemon(options) : job.daemon(config, options));
  const watchdog = Watchdog.start();
  let leasing: Promise<Lease> | null = null;
  let configFile: string | null = null;
  let over = false;
  let exit: AgentExit;
  try {
    const sandbox = await openSandbox(
      options.isolation ?? job?.isolation ?? config.agent.isolation,
      launcher,
    );
    const label = basename(command);
    leasing = daemon.client.lease({ profile: options.profile, label, token: !sandbox.unixSockets });
    const surroundings = {
      config,
      callerEnv: job?.callerEnv ?? process.env,
      profile,
      paths: job?.hiding(options) ?? options,
      directory: process.cwd(),
    };
    // While the daemon makes the session.
    const survey = sandbox.survey(surroundings);
    const lease = await leasing;
    const { upstreams, socket } = lease.report;
    void lease.lost.then(() => {
      if (!over) process.stderr.write('ostiary: the daemon ended: the agent has lost its upstreams\n');
    });
    const pass = [...profile.env, ...config.agent.env, ...options.env];
    const [env] = await Promise.all([
      job?.environment(pass) ?? cleanEnvironment(daemon.client, pass),
      staysBelowUs(sandbox, options) &&
        daemon.client.bindSession(lease.report.id, { pid: process.pid, kind: 'ancestry' }),
    ]);
    const way = reach(lease, sandbox, options.http === true);
    const text = renderMcpConfig({
      upstreams,
      merged: options.merged === true,
      ...way.config,
      node: process.execPath,
      main: mainFile,
    });
    const path = resolve(options.configOut ?? join(daemon.scratch ?? dirname(socket), 'mcp-config.json'));
    writeNew(path, text);
    configFile = path;
    watchdog.guardFile(path);
    for (const line of [daemon.level, sandbox.level])
      if (options.quiet !== true && line !== null) process.stderr.write(`ostiary: ${line}\n`);
    const agent: SandboxedAgent = {
      command,
      args: args.map((arg) => arg.replaceAll(PLACEHOLDER, path)),
      env: { ...env, OSTIARY_MCP_CONFIG: path, ...way.env },
      surroundings,
      survey,
      // Of another user's daemon nothing can be written there; what has no Unix sockets needs nothing else of it.
      sessionDirectory: sandbox.unixSockets ? dirname(socket) : (daemon.scratch ?? dirname(socket)),
      shown: [path],
    };
    await job?.clear(daemon.client, { session: lease.report.id, agent, sandbox, mcpConfig: text });
    exit = await sandbox.launch(agent, watchdog);
  } finally {
    over = true;
    if (configFile !== null) {
      rmSync(configFile, { force: true });
      watchdog.releaseFile(configFile);
    }
    const released = leasing?.then(
      (lease) => lease.release(),
      () => {},
    );
    await Promise.all([released, daemon.release(), watchdog.close()]);
  }
  // Last, for it may be the end of this process.
  endAs(exit);
}

function collect(value: string, all: readonly string[]): string[] {
  return [...all, value];
}

export function runCommand(early: Launcher | null): Command {
  const command = new Command('run')
    .description('run an agent that uses the upstreams and holds none of their credentials')
    .usage('[options] -- AGENT [ARGUMENT…]')
    .argument('<agent>', 'the command to run')
    .argument('[arguments...]', `its arguments; ${PLACEHOLDER} stands for the path of its mcp-config.json`)
    .option('--profile <name>', 'policy profile of the session', 'default')
    .option('--config <file>', 'configuration file')
    .option('--daemon <socket>', 'use the daemon of another user, by its agents.sock')
    .option('--config-out <file>', 'where to write mcp-config.json (removed at the end)')
    .option('--merged', 'one server, ostiary, for all upstreams, instead of one for each')
    .option('--http', 'servers by loopback HTTP with a headers helper, instead of the shim')
    .option(
      '--env <name>',
      'hand this environment variable to the agent too (repeatable; * and ? match)',
      collect,
      [],
    )
    .addOption(
      new Option(
        '--isolation <how>',
        'sandbox of the agent; the first that works, unless configured',
      ).choices(isolations),
    )
    .addOption(
      new Option('--agent <name>', 'whose own state it may write, if its name does not say').choices(
        agentNames,
      ),
    )
    .option('--rw <path>', 'let the agent write this path too (repeatable)', collect, [])
    .option('--ro <path>', 'let the agent read, but not write, this path (repeatable)', collect, [])
    .option('--hide <path>', 'hide this path from the agent (repeatable)', collect, [])
    .option('--quiet', 'do not print the isolation level')
    .option(...passphraseFdOption)
    .passThroughOptions()
    .action((command: string, args: readonly string[], options: RunOptions) =>
      run(early, command, args, options),
    );
  return addCiOptions(command);
}
