/** `run --ci`: a job's secrets go into the memory of a daemon of its own, and the agent is started clean or not at all. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import type { Isolation } from '../../agents/sandbox/isolation.ts';
import type { PathChoice } from '../../agents/sandbox/places.ts';
import type { Sandbox, SandboxedAgent } from '../../agents/sandbox/sandbox.ts';
import { credentialRefs } from '../../config/credentials.ts';
import type { Config } from '../../config/types.ts';
import { CREDENTIAL_NAME } from '../../credentials/ref.ts';
import { agentEnvironment, type Environment } from '../../environment.ts';
import { Failure } from '../../errors.ts';
import { forgetVariable } from '../../os/index.ts';
import { runtimeDirectory, stateDirectory } from '../../paths.ts';
import { readSignedHead } from '../../proxy/audit/signature.ts';
import { visible } from '../../proxy/audit/text.ts';
import type { ControlClient } from '../control.ts';
import { referencedVariables } from '../daemon-process.ts';
import { type DaemonChoice, type FoundDaemon, privateDaemon } from '../find-daemon.ts';
import { packSecrets } from '../handover.ts';
import { removeStale } from '../run-directory.ts';
import { configPlaces } from './configs.ts';
import { Budget, fileItem, filesBelow, type Looking, placeOf } from './files.ts';
import { gitFiles, gitFindings, gitHint } from './git.ts';
import { type Finding, type Item, Skipped } from './item.ts';
import { lookAt } from './look.ts';
import { processItems } from './processes.ts';
import { consumed, type JobSecrets, readSecrets, type SecretOptions } from './secrets.ts';
import { outermost, realPath, type Sight, sightOf } from './sight.ts';

export interface CiOptions extends SecretOptions {
  readonly ci?: boolean;
  readonly auditOut?: string;
}

function collect(value: string, all: readonly string[]): string[] {
  return [...all, value];
}

export function addCiOptions(command: Command): Command {
  return command
    .option('--ci', 'for a CI job: secrets in memory alone, and an agent that starts clean or not at all')
    .option(
      '--secret <name=source>',
      'with --ci: a secret from file:PATH or env:VARIABLE (repeatable)',
      collect,
      [],
    )
    .option(
      '--secret-env <name>',
      'with --ci: the secret in the variable of this name (repeatable)',
      collect,
      [],
    )
    .option('--secrets-stdin', 'with --ci: secrets from standard input, NAME=VALUE lines or a JSON object')
    .option('--consume', 'with --ci: delete the files of --secret')
    .option('--audit-out <directory>', 'with --ci: keep the audit log here, in a new or empty directory');
}

/** What is to be started. */
export interface Start {
  readonly session: string;
  readonly agent: SandboxedAgent;
  readonly sandbox: Sandbox;
  /** Text of the agent's generated configuration. */
  readonly mcpConfig: string;
}

function say(line: string): void {
  process.stderr.write(`ostiary: ${line}\n`);
}

/** @throws {Failure} unless each secret that upstreams need was given, or is in a variable: a job has no vault */
function checkGiven(config: Config, { values }: JobSecrets, env: Environment): void {
  const missing = credentialRefs(config).flatMap((ref) => {
    const has =
      (ref.source !== 'vault' && ref.source !== 'env') ||
      values.has(ref.name) ||
      (ref.source === 'env' && (env[ref.name] ?? '') !== '');
    return has ? [] : [ref.name];
  });
  const [name] = missing;
  if (name === undefined) return;
  throw new Failure('credential', `not given to this job: ${[...new Set(missing)].join(', ')}`, {
    hint: `--secret ${name}=file:PATH, --secret ${name}=env:VARIABLE, or a line ${name}=… for --secrets-stdin`,
  });
}

/** A file may be looked at for several reasons. */
function unique(findings: readonly Finding[]): Finding[] {
  return [...new Map(findings.map((one) => [`${one.place}\n${one.label}`, one])).values()];
}

function checkNames({ values }: JobSecrets): void {
  if ([...values.keys()].every((name) => CREDENTIAL_NAME.test(name))) return;
  throw new Failure('usage', 'expected names of secrets to be letters, digits, . _ -, at most 64');
}

/** Made now, so that an agent cannot choose what it is; what is in it at the end is not overwritten. */
function makeAuditOut(path: string): string {
  const directory = resolve(path);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (readdirSync(directory).length > 0)
    throw new Failure('usage', '--audit-out: expected a new or empty directory', {
      place: { file: directory },
    });
  return realpathSync(directory);
}

const PREFIX = 'ostiary-ci-';

/** For everything that the job's daemon has besides memory: it removes it at its end. */
function makeHome(): string {
  const parent = realpathSync(tmpdir());
  removeStale(parent, PREFIX);
  return mkdtempSync(join(parent, PREFIX));
}

export class CiJob {
  readonly #secrets: JobSecrets;
  /** Ours as it was: what was moved out of it is still looked at. */
  readonly #env: Environment;
  readonly #auditOut: string | null;
  /** Of the daemon: its sockets and its state. */
  readonly #home: string;
  /** Unless the command line says otherwise: a configuration may not go without. */
  readonly isolation: Isolation | null;

  private constructor(config: Config, secrets: JobSecrets, env: Environment, auditOut: string | null) {
    this.isolation = config.agent.isolation === 'none' ? 'auto' : null;
    this.#secrets = secrets;
    this.#env = env;
    this.#auditOut = auditOut;
    this.#home = makeHome();
  }

  /**
   * Takes the secrets from where they are.
   * @returns `null` for a run that is no CI job
   * @throws {Failure} naming what is missing or cannot be read, never a value
   */
  static async prepare(config: Config, options: CiOptions): Promise<CiJob | null> {
    const asked = options.secret.length + options.secretEnv.length > 0 || options.secretsStdin === true;
    if (options.ci !== true) {
      if (asked || options.consume === true || options.auditOut !== undefined)
        throw new Failure(
          'usage',
          '--secret, --secret-env, --secrets-stdin, --consume and --audit-out need --ci',
        );
      return null;
    }
    const auditOut = options.auditOut === undefined ? null : makeAuditOut(options.auditOut);
    const env = { ...process.env };
    const secrets = await readSecrets(options, env);
    checkNames(secrets);
    checkGiven(config, secrets, env);
    return new CiJob(config, options.consume === true ? consumed(secrets) : secrets, env, auditOut);
  }

  /** A daemon of the job's own; from here on this process has the values no more. */
  async daemon(config: Config, choice: DaemonChoice): Promise<FoundDaemon> {
    const found = await privateDaemon(choice, this.#home, {
      env: { ...process.env, XDG_STATE_HOME: this.#home },
      secrets: packSecrets(this.#secrets.values),
      ...(this.#auditOut === null ? {} : { auditOut: this.#auditOut }),
    });
    for (const name of [...this.#secrets.variables, ...referencedVariables(config)]) forgetVariable(name);
    return { ...found, release: () => this.#end(found) };
  }

  /** For the sandbox: in it our own directories are those of the job, and no others are made. */
  get callerEnv(): Environment {
    const home = this.#home;
    return { ...process.env, XDG_STATE_HOME: home, XDG_CONFIG_HOME: home, XDG_RUNTIME_DIR: home };
  }

  /** The paths of the command line, and those where secrets are. */
  hiding({ rw, ro, hide }: PathChoice): PathChoice {
    const others = [stateDirectory(this.#env), runtimeDirectory(this.#env)].filter(existsSync);
    return { rw, ro, hide: [...hide, this.#home, ...this.#secrets.files, ...others] };
  }

  /** What the agent is to have of our environment as it was; {@link clear} refuses what holds a secret. */
  environment(pass: readonly string[]): Record<string, string> {
    return agentEnvironment(this.#env, { pass, removeNames: [] });
  }

  /**
   * Looks at everything that the agent is given or could read, and has the daemon state that it is clean.
   * @throws {Failure} when there is a secret in it; each place was said on standard error
   */
  async clear(client: ControlClient, start: Start): Promise<void> {
    const { session, agent, sandbox } = start;
    const skipped = new Skipped();
    const base = realPath(agent.surroundings.directory);
    const sight = sightOf(agent, sandbox.mechanism);
    const git = gitFiles(base, this.#env).filter((path) => sight.sees(realPath(path)));
    const hintFor = (path: string): string => this.#hintFor(path, git);
    const budget = new Budget(() => performance.now());
    const looking = { budget, skipped, base, hintFor, sees: sight.sees };
    const { findings, tooShort } = await lookAt(client, session, this.#items(start, sight, git, looking));
    const exposed = unique([...findings, ...gitFindings(git, base), ...this.#openFiles(sight, base)]);
    for (const label of tooShort) skipped.add('secrets that are too short', label);
    if (exposed.length > 0) return this.#refuse(client, session, exposed);
    const counts = skipped.counts();
    const { key, seq } = await client.stateCleared(session, { isolation: sandbox.level, skipped: counts });
    say(`the agent starts clean: record ${seq} of the audit log, signed by ${key}`);
    if (Object.keys(counts).length > 0) say(`not looked at: ${visible(skipped.describe())}`);
    if (this.#auditOut === null) say('the audit log is not kept: --audit-out DIRECTORY keeps it');
  }

  *#items(
    { agent, mcpConfig }: Start,
    sight: Sight,
    git: readonly string[],
    looking: Looking,
  ): Generator<Item> {
    for (const [name, value] of Object.entries(agent.env))
      yield {
        kind: 'variable',
        place: `variable ${name} of the agent`,
        bytes: Buffer.from(value),
        hint: `do not hand it over: leave out --env ${name}, and what matches it under agent.env`,
      };
    for (const [index, argument] of [agent.command, ...agent.args].entries())
      yield {
        kind: 'argument',
        place: index === 0 ? 'the command of the agent' : `argument ${index} of the agent`,
        bytes: Buffer.from(argument),
        hint: 'give the agent an upstream that has the secret, not the secret',
      };
    yield {
      kind: 'file',
      place: 'mcp-config.json',
      bytes: Buffer.from(mcpConfig),
      hint: 'ostiary config check',
    };
    const places = configPlaces(this.#env);
    for (const path of [...git, ...places.files]) {
      const item = sight.sees(realPath(path)) ? fileItem(path, looking) : null;
      if (item !== null) yield item;
    }
    for (const root of outermost([...sight.roots, ...places.directories]))
      yield* filesBelow(realPath(root), looking);
    yield* processItems(sight.processes);
  }

  #hintFor(path: string, git: readonly string[]): string {
    if (this.#secrets.files.includes(path)) return '--consume deletes it once it is read';
    if (git.includes(path) || path.includes('/.git/')) return gitHint;
    return 'remove it before the agent starts, and make a new secret if it was committed';
  }

  /** Files of secrets that the agent could open. */
  #openFiles({ sees }: Sight, base: string): Finding[] {
    return this.#secrets.files
      .filter((path) => sees(realPath(path)) && existsSync(path))
      .map((path) => ({
        place: placeOf(path, base),
        label: 'the file of a secret',
        hint: '--consume deletes it once it is read',
      }));
  }

  async #refuse(client: ControlClient, session: string, exposed: readonly Finding[]): Promise<never> {
    const shown = await client.stateRefused(
      session,
      exposed.map(({ place, label }) => ({ place, label })),
    );
    for (const [index, { place, label }] of shown.entries())
      process.stderr.write(
        `ostiary: ${visible(place)}: holds ${visible(label)}\n  try: ${exposed[index]?.hint}\n`,
      );
    throw new Failure('exposed', 'the agent was not started: it could read a secret', {
      hint: 'mend the places above, and run it again',
    });
  }

  async #end({ release }: FoundDaemon): Promise<void> {
    await release();
    if (this.#auditOut === null) return;
    const log = join(this.#auditOut, 'audit.jsonl');
    if (!existsSync(log))
      throw new Failure('audit', 'the audit log could not be kept', {
        place: { file: this.#auditOut },
        hint: 'the directory has to stay empty and writable until the agent has ended',
      });
    const head = readSignedHead(log);
    if (head !== null) say(`audit log: ${log}, head ${head.seq}:${head.hash}, signed by ${head.key}`);
  }
}
