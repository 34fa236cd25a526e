/** A stdio upstream: one child, its credentials in its environment, files and pipes and nowhere else. */
import { dirname } from 'node:path';
import type { Grant } from '../../auth/grant.ts';
import type { CredentialRef } from '../../credentials/ref.ts';
import type { Scrubber } from '../../credentials/scrubber.ts';
import type { Secret } from '../../credentials/secret.ts';
import { upstreamBase } from '../../environment.ts';
import { Failure, type Refusal, refuse } from '../../errors.ts';
import { type ClientMessage, readEnvelope } from '../../jsonrpc.ts';
import { limits } from '../../limits.ts';
import { isUser, missingCapabilities, requireUser, type User } from '../../os/index.ts';
import { Throttle } from '../../throttle.ts';
import { type Acquire, acquireAll, type Freshness } from '../acquire.ts';
import { commandOf, type Plan } from '../hardening/hardener.ts';
import type { Hardening } from '../hardening/measures.ts';
import { decodedSecrets, injectEnvironment } from '../inject.ts';
import type { PackageSpec } from '../packages/package.ts';
import { idIn, systemError, tooLarge, unavailable } from '../refusals.ts';
import type { Transport, TransportEvents } from '../transport.ts';
import { type Descriptors, openDescriptors } from './descriptors.ts';
import { Holdings } from './holdings.ts';
import { type Child, type Exit, type Guard, launch } from './launch.ts';
import { type FileGuard, type PrivateFiles, writePrivateFiles } from './private-files.ts';
import { makeWorkplace, type Workplace } from './workplace.ts';

export interface StdioSpec {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Variable → credential that is its value. */
  readonly secrets: Readonly<Record<string, CredentialRef>>;
  /** Variable, which gets a path → credential that is the file's content. */
  readonly files?: Readonly<Record<string, CredentialRef>>;
  /** Variable, which gets a number → credential that can be read from that descriptor. */
  readonly fds?: Readonly<Record<string, CredentialRef>>;
  /** Default: `full`. */
  readonly hardening?: Hardening;
  /** Whose program is the first argument. */
  readonly package?: PackageSpec | null;
  /** Name or number of the user under whom it runs; `null`: our own. */
  readonly runAs?: string | null;
}

export interface StdioPorts {
  readonly acquire: Acquire;
  readonly freshness: Freshness;
  /** Why the program may not be started, or `null`. */
  readonly inspect: () => Promise<Refusal | null>;
  /** How the program is to be started now. */
  readonly plan: () => Promise<Plan>;
  readonly scrubber: Scrubber;
  readonly guard: Guard & FileGuard;
  /** The daemon's environment, from which the allow-list picks. */
  readonly env: NodeJS.ProcessEnv;
  /** A private directory of ours; each child gets an empty one in it. */
  readonly workDirectory: string;
  /** One that other users may pass, for children of theirs; `null`: there is none. */
  readonly foreignWorkDirectory: string | null;
  /** Of one message of the child; beyond it that message alone is lost. */
  readonly messageBytes: number;
  readonly started: (child: { pid: number; credentials: readonly string[] }) => void;
  readonly exited: (child: { pid: number; code: number | null; signal: string | null }) => void;
  /** Why the child or one of its credentials could not be had; names labels and paths, never values. */
  readonly problem: (message: string) => void;
  /** One scrubbed line of standard error. */
  readonly stderr: (line: string) => void;
  /** Standard output that is no message; never its content. */
  readonly noise: (bytes: number) => void;
}

function describeExit(exit: Exit): string {
  if (exit.error !== undefined) return 'could not be started';
  return exit.signal === null ? `exited with code ${exit.code}` : `was ended by ${exit.signal}`;
}

/** The child's share of the log; beyond it its lines are counted. */
class ChildLog {
  readonly #ports: StdioPorts;
  readonly #throttle = new Throttle({ burst: limits.logBurstBytes, perSecond: limits.logBytesPerSecond });

  constructor(ports: StdioPorts) {
    this.#ports = ports;
  }

  #mayLog(bytes: number): boolean {
    const heldBack = this.#throttle.pass(limits.logLineBytes + bytes);
    if (heldBack !== null && heldBack > 0) this.#ports.stderr(`[${heldBack} lines were left out]`);
    return heldBack !== null;
  }

  stderr(line: Buffer): void {
    if (!this.#mayLog(line.length)) return;
    const clean = this.#ports.scrubber.scrubText(line);
    this.#ports.stderr(
      clean.outcome === 'withheld' ? '[a line that could not be redacted]' : clean.bytes.toString(),
    );
  }

  noise(bytes: number): void {
    if (this.#mayLog(0)) this.#ports.noise(bytes);
  }
}

/** What is cut could hold a secret across the cut, so of a line that long only its length is kept. */
function stderrLines(log: ChildLog): (line: Buffer, goesOn: boolean) => void {
  let cutBytes = 0;
  return (line, goesOn) => {
    if (goesOn || cutBytes > 0) {
      cutBytes += line.length;
      if (goesOn) return;
      log.stderr(Buffer.from(`[a line of ${cutBytes} bytes]`));
      cutBytes = 0;
      return;
    }
    log.stderr(line);
  };
}

export class StdioTransport implements Transport {
  readonly #child: Child;
  /** What it was given that may be renewed. */
  readonly holdings: Holdings;

  constructor(child: Child, holdings: Holdings) {
    this.#child = child;
    this.holdings = holdings;
  }

  send(_grant: Grant, { bytes }: ClientMessage): Refusal | undefined {
    if (this.#child.backlog > limits.upstreamBufferBytes)
      return refuse('upstream_unavailable', 'the upstream does not read its input');
    this.#child.write(bytes);
    return undefined;
  }

  pause(): void {
    this.#child.pause();
  }

  resume(): void {
    this.#child.resume();
  }

  stop(): Promise<void> {
    return this.#child.stop();
  }
}

/** @throws {Failure} when there is no such user, or we may not become it */
function userOf({ name, runAs = null }: StdioSpec): User | null {
  if (runAs === null) return null;
  const missing = missingCapabilities();
  if (missing.length > 0)
    throw new Failure('config', `upstream ${name}: run_as ${runAs} needs a daemon that runs as root`, {
      hint: `it has no ${missing.join(', ')}; leave run_as out, or see docs/shared-host.md`,
    });
  const user = requireUser(runAs);
  if (isUser(user.uid)) return user;
  throw new Failure('config', `upstream ${name}: run_as ${runAs} is what many programs run as`, {
    hint: 'give it a user of its own: useradd --system --no-create-home NAME',
  });
}

function baseEnvironment(
  { runAs = null }: StdioSpec,
  { cwd, tmp }: Workplace,
  env: NodeJS.ProcessEnv,
): Record<string, string> {
  const base = upstreamBase(env, tmp);
  // Ours is closed to it, and its own may have been written to by others.
  return runAs === null ? base : { ...base, HOME: cwd, USER: runAs, LOGNAME: runAs };
}

/**
 * Starts the child with its credentials. A credential that cannot be had is a refusal that names it; a child that cannot
 * be started ends through `events.onExit`.
 */
export async function openStdio(
  spec: StdioSpec,
  ports: StdioPorts,
  events: TransportEvents,
): Promise<StdioTransport | Refusal> {
  const log = new ChildLog(ports);
  let child: Child;
  let wanted = '';
  let place: Workplace | null = null;
  let files: PrivateFiles | null = null;
  let pipes: Descriptors | null = null;
  const learn = (secret: Secret): void => {
    for (const decoded of decodedSecrets(secret)) ports.scrubber.add(decoded);
  };
  const holdings = new Holdings({
    acquire: ports.acquire,
    freshness: ports.freshness,
    rewrite: (variable, secret) => {
      learn(secret);
      files?.rewrite(variable, secret);
    },
  });
  const cleanUp = async (): Promise<void> => {
    try {
      files?.remove();
      await place?.remove();
    } catch (error) {
      // A child may have made directories that nobody may change, or left somebody who still writes. The next start of
      // the daemon tries again.
      ports.problem(`upstream ${spec.name}: its directory cannot be removed (${systemError(error)})`);
    }
  };
  const refused = await ports.inspect();
  if (refused !== null) return refused;
  try {
    const user = userOf(spec);
    place = makeWorkplace({ own: ports.workDirectory, foreign: ports.foreignWorkDirectory }, spec.name, user);
    const { cwd } = place;
    const base = baseEnvironment(spec, place, ports.env);
    const acquire = async (refs: StdioSpec['secrets'] = {}): Promise<Record<string, Secret>> =>
      Object.fromEntries(
        await acquireAll(Object.entries(refs), ports.acquire, (label) => {
          wanted ||= label;
        }),
      );
    const [plan, secrets, inFiles, inPipes] = await Promise.all([
      ports.plan(),
      acquire(spec.secrets),
      acquire(spec.files),
      acquire(spec.fds),
    ]);
    for (const secret of [inFiles, inPipes].flatMap((each) => Object.values(each))) learn(secret);
    holdings.add('fixed', spec.secrets, secrets);
    holdings.add('fixed', spec.fds ?? {}, inPipes);
    holdings.add('file', spec.files ?? {}, inFiles);
    files = writePrivateFiles(place.secrets, inFiles, ports.guard, user);
    pipes = openDescriptors(inPipes, user);
    const literals = { ...spec.env, ...files.variables, ...pipes.variables };
    const { env } = injectEnvironment(base, literals, secrets);
    const credentials = new Set(
      [secrets, inFiles, inPipes].flatMap((each) => Object.values(each).map(({ label }) => label)),
    );
    const { command, argv0, args } = commandOf(plan, cwd, dirname(cwd));
    child = launch(
      {
        name: spec.name,
        command,
        ...(argv0 === null ? {} : { argv0 }),
        args,
        env,
        cwd,
        descriptors: pipes.fds,
        inNamespace: plan.namespace !== null,
        ...(user === null ? {} : { as: user }),
      },
      {
        onLine: (line) => {
          const envelope = readEnvelope(line);
          if (envelope === null) log.noise(line.length);
          else events.onMessage({ envelope, bytes: line });
        },
        onOversize: (head) => events.onNoAnswer(idIn(head), tooLarge(ports.messageBytes)),
        onStderr: stderrLines(log),
        onDrain: () => {},
        onExit: (exit) => {
          void cleanUp();
          if (exit.error !== undefined) ports.problem(exit.error.message);
          if (child.pid !== null) ports.exited({ pid: child.pid, code: exit.code, signal: exit.signal });
          events.onExit(describeExit(exit));
        },
      },
      { guard: ports.guard, maxLineBytes: ports.messageBytes },
    );
    if (child.pid !== null) ports.started({ pid: child.pid, credentials: [...credentials] });
  } catch (error) {
    void cleanUp();
    return unavailable(error, wanted, spec.name, ports.problem);
  } finally {
    pipes?.close();
  }
  return new StdioTransport(child, holdings);
}
