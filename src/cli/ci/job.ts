/** `run --ci`: a job's secrets go into the memory of a daemon of its own, and the agent is started clean or not at all. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { credentialRefs } from '../../config/credentials.ts';
import type { Config } from '../../config/types.ts';
import { CREDENTIAL_NAME } from '../../credentials/ref.ts';
import { agentEnvironment, type Environment } from '../../environment.ts';
import { Failure } from '../../errors.ts';
import { forgetVariable } from '../../os/index.ts';
import { readSignedHead } from '../../proxy/audit/signature.ts';
import { visible } from '../../proxy/audit/text.ts';
import type { ControlClient } from '../control.ts';
import { referencedVariables } from '../daemon-process.ts';
import { type DaemonChoice, type FoundDaemon, privateDaemon, removeStale } from '../find-daemon.ts';
import { packSecrets } from '../handover.ts';
import { configPlaces } from './configs.ts';
import { Budget, fileItem, filesBelow, type Looking, placeOf } from './files.ts';
import { gitFiles, gitFindings, gitHint } from './git.ts';
import { type Finding, type Item, Skipped } from './item.ts';
import { lookAt } from './look.ts';
import { processItems } from './processes.ts';
import { type JobSecrets, readSecrets, type SecretOptions } from './secrets.ts';

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

/** What the agent is to be given. */
export interface Start {
  readonly session: string;
  /** Its whole environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Its command line, the command included. */
  readonly argv: readonly string[];
  /** Text of its generated configuration. */
  readonly mcpConfig: string;
  /** Where it may write; everything below is looked at. */
  readonly workspaces: readonly string[];
  /** Level and mechanism, for the statement. */
  readonly isolation: string;
  /** Whether other processes are out of its sight. */
  readonly sandboxed: boolean;
  /** Whether this path is out of its sight. */
  readonly hidden: (path: string) => boolean;
}

function say(line: string): void {
  process.stderr.write(`ostiary: ${line}\n`);
}

/** @throws {Failure} unless each secret of the vault that upstreams need was given: a job has no vault */
function checkGiven(config: Config, { values }: JobSecrets): void {
  const missing = credentialRefs(config).flatMap((ref) =>
    ref.source === 'vault' && !values.has(ref.name) ? [ref.name] : [],
  );
  if (missing.length === 0) return;
  throw new Failure('credential', `not given to this job: ${[...new Set(missing)].join(', ')}`, {
    hint: `--secret ${missing[0]}=file:PATH, --secret ${missing[0]}=env:VARIABLE, or a line ${missing[0]}=… for --secrets-stdin`,
  });
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
  const directory = mkdtempSync(join(parent, PREFIX));
  chmodSync(directory, 0o700);
  return directory;
}

export class CiJob {
  readonly #secrets: JobSecrets;
  /** Ours as it was: what was moved out of it is still looked at. */
  readonly #env: Environment;
  readonly #auditOut: string | null;
  /** Directory of the daemon's sockets and state; the agent must not see it. */
  readonly home: string;
  /** Files with secrets that are still there; the agent must not see them. */
  get files(): readonly string[] {
    return this.#secrets.files;
  }

  private constructor(secrets: JobSecrets, env: Environment, auditOut: string | null) {
    this.#secrets = secrets;
    this.#env = env;
    this.#auditOut = auditOut;
    this.home = makeHome();
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
    checkGiven(config, secrets);
    return new CiJob(secrets, env, auditOut);
  }

  /** A daemon of the job's own; from here on this process has the values no more. */
  async daemon(config: Config, choice: DaemonChoice): Promise<FoundDaemon> {
    const found = await privateDaemon(choice, this.home, {
      env: { ...process.env, XDG_STATE_HOME: this.home },
      secrets: packSecrets(this.#secrets.values),
      ...(this.#auditOut === null ? {} : { auditOut: this.#auditOut }),
    });
    for (const name of [...this.#secrets.variables, ...referencedVariables(config)]) forgetVariable(name);
    return { client: found.client, release: () => this.#end(found) };
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
    const skipped = new Skipped();
    const budget = new Budget(() => performance.now());
    const base = process.cwd();
    const git = gitFiles(base, this.#env).filter((path) => !start.hidden(path));
    const hintFor = (path: string): string => this.#hintFor(path, git);
    const items = this.#items(start, git, { budget, skipped, base, hintFor });
    const { findings, tooShort } = await lookAt(client, start.session, items);
    const exposed = [...findings, ...gitFindings(git, base), ...this.#openFiles(start, base)];
    for (const label of tooShort) skipped.add('secrets that are too short', label);
    if (exposed.length > 0) return this.#refuse(client, start.session, exposed);
    const counts = skipped.counts();
    const { key, seq } = await client.stateCleared(start.session, {
      isolation: start.isolation,
      skipped: counts,
    });
    say(`the agent starts clean: record ${seq} of the audit log, signed by ${key}`);
    if (Object.keys(counts).length > 0) say(`not looked at: ${visible(skipped.describe())}`);
    if (this.#auditOut === null) say('the audit log is not kept: --audit-out DIRECTORY keeps it');
  }

  *#items(start: Start, git: readonly string[], looking: Looking): Generator<Item> {
    for (const [name, value] of Object.entries(start.env))
      yield {
        kind: 'variable',
        place: `variable ${name} of the agent`,
        bytes: Buffer.from(value),
        hint: `do not hand it over: leave out --env ${name}, and what matches it under agent.env`,
      };
    for (const [index, argument] of start.argv.entries())
      yield {
        kind: 'argument',
        place: index === 0 ? 'the command of the agent' : `argument ${index} of the agent`,
        bytes: Buffer.from(argument),
        hint: 'give the agent an upstream that has the secret, not the secret',
      };
    yield {
      kind: 'file',
      place: 'mcp-config.json',
      bytes: Buffer.from(start.mcpConfig),
      hint: 'ostiary config check',
    };
    const places = configPlaces(this.#env);
    for (const path of [...git, ...places.files]) {
      const item = start.hidden(path) ? null : fileItem(path, looking);
      if (item !== null) yield item;
    }
    for (const root of [...start.workspaces, ...places.directories])
      if (!start.hidden(root)) yield* filesBelow(root, looking);
    if (!start.sandboxed) yield* processItems();
  }

  #hintFor(path: string, git: readonly string[]): string {
    if (this.#secrets.files.includes(path)) return '--consume deletes it once it is read';
    if (git.includes(path) || path.includes('/.git/')) return gitHint;
    return 'remove it before the agent starts, and make a new secret if it was committed';
  }

  /** Files of secrets that the agent could open. */
  #openFiles({ hidden }: Start, base: string): Finding[] {
    return this.#secrets.files
      .filter((path) => !hidden(path) && existsSync(path))
      .map((path) => ({
        place: placeOf(path, base),
        label: 'the file of a secret',
        hint: '--consume deletes it once it is read',
      }));
  }

  async #refuse(client: ControlClient, session: string, exposed: readonly Finding[]): Promise<never> {
    for (const { place, label, hint } of exposed)
      process.stderr.write(`ostiary: ${visible(place)}: holds ${visible(label)}\n  try: ${hint}\n`);
    await client.stateRefused(
      session,
      exposed.map(({ place, label }) => ({ place, label })),
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
