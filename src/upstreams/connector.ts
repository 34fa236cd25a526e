/** How connections to one upstream are made, by its transport, and what is known of those that were. */
import { type Destination, destinationOf } from '../credentials/destination.ts';
import type { CredentialRef } from '../credentials/ref.ts';
import type { Scrubber } from '../credentials/scrubber.ts';
import type { Secret } from '../credentials/secret.ts';
import { Failure, type Refusal, refuse } from '../errors.ts';
import type { Freshness } from './acquire.ts';
import { type Hardener, type Plan, type Program, unhardened } from './hardening/hardener.ts';
import type { Measure } from './hardening/measures.ts';
import { type HttpPorts, type HttpSpec, shareHttp } from './http/endpoint.ts';
import { openHttp } from './http/http.ts';
import { openSse } from './http/sse.ts';
import type { ToolHeaders } from './http/tool-headers.ts';
import { checkInstalled } from './packages/installed.ts';
import { isRenewable } from './stdio/holdings.ts';
import type { Guard } from './stdio/launch.ts';
import type { FileGuard } from './stdio/private-files.ts';
import { openRenewing } from './stdio/renewal.ts';
import { openStdio, type StdioPorts, type StdioSpec } from './stdio/stdio.ts';
import type { Timeouts } from './timeouts.ts';
import type { OpenTransport, TransportEvents } from './transport.ts';

export type TransportSpec =
  | ({ readonly transport: 'stdio' } & StdioSpec)
  | ({ readonly transport: 'http' | 'sse' } & HttpSpec);

export interface ConnectorPorts {
  readonly acquire: (ref: CredentialRef, to: Destination) => Promise<Secret>;
  readonly freshness: Freshness;
  readonly scrubber: Scrubber;
  /** `null`: children are started as they are, for somebody who looks into them. */
  readonly hardener: Hardener | null;
  /** What is in force for the children, when that is first known and whenever it changes. */
  readonly hardened: (upstream: string, measures: readonly Measure[]) => void;
  readonly guard: Guard & FileGuard;
  /** The daemon's environment, from which the allow-list picks. */
  readonly env: NodeJS.ProcessEnv;
  /** A private directory of ours; each child gets an empty one in it. */
  readonly workDirectory: string;
  /** One that other users may pass, for children of theirs; `null`: there is none. */
  readonly foreignWorkDirectory: string | null;
  /** The largest message of an upstream. */
  readonly messageBytes: number;
  readonly started: (event: {
    upstream: string;
    /** Left out for a connection that is no child. */
    pid?: number;
    session: string;
    credentials: readonly string[];
  }) => void;
  readonly exited: (event: {
    upstream: string;
    pid: number;
    code: number | null;
    signal: string | null;
  }) => void;
  readonly problem: (upstream: string, message: string) => void;
  readonly stderr: (upstream: string, line: string) => void;
  readonly noise: (upstream: string, bytes: number) => void;
}

export interface Report {
  readonly running: readonly number[];
  readonly starts: number;
  readonly lastProblem: string | null;
  /** What protects its children; empty for an upstream without any, and while it is not known yet. */
  readonly hardening: readonly Measure[];
}

export interface Connector {
  /** For the session whose call needs the connection; audit shows it. */
  open(session: string): OpenTransport;
  /** Makes what the first start would otherwise have to wait for. */
  prepare(): Promise<void>;
  report(): Report;
  /** Lets go of what connections share. */
  close(): void;
}

function holdsRenewable({ secrets, files = {}, fds = {} }: StdioSpec): boolean {
  return [secrets, files, fds].some((refs) => Object.values(refs).some(isRenewable));
}

function programOf(spec: StdioSpec): Program {
  const { command, args, env, secrets, files = {}, fds = {}, hardening = 'full' } = spec;
  const variables = [env, secrets, files, fds].flatMap((each) => Object.keys(each));
  const needs = spec.package ? [spec.package.directory] : [];
  const foreign = (spec.runAs ?? null) !== null;
  return { command, args, env, hardening, foreign, variables, descriptors: Object.keys(fds).length, needs };
}

export function connector(
  spec: TransportSpec & Pick<Timeouts, 'startTimeoutMs'>,
  ports: ConnectorPorts,
  tools: ToolHeaders,
): Connector {
  const pids = new Set<number>();
  let starts = 0;
  let lastProblem: string | null = null;
  const upstream = spec.name;
  const destination = destinationOf(spec);
  const acquire = (ref: CredentialRef): Promise<Secret> => ports.acquire(ref, destination);
  const opened = (session: string, pid: number | null, credentials: readonly string[]): void => {
    starts++;
    lastProblem = null;
    if (pid !== null) pids.add(pid);
    ports.started({ upstream, ...(pid === null ? {} : { pid }), session, credentials });
  };
  const problem = (message: string): void => {
    lastProblem = message;
    ports.problem(upstream, message);
  };
  const noise = (bytes: number): void => ports.noise(upstream, bytes);
  let hardening: readonly Measure[] = [];
  const report = (): Report => ({ running: [...pids], starts, lastProblem, hardening });

  if (spec.transport === 'stdio') {
    const inspect = async (): Promise<Refusal | null> => {
      if (!spec.package) return null;
      try {
        await checkInstalled(spec.package, spec.args[0] ?? '', upstream);
        return null;
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        problem(error.message);
        const remedy = `ostiary upstream install ${upstream}`;
        return refuse(
          'upstream_unavailable',
          `the package of upstream ${upstream} is missing, or not as it was installed: ${remedy}`,
        );
      }
    };
    const plan = async (): Promise<Plan> => {
      const planned = (await ports.hardener?.plan(programOf(spec))) ?? unhardened(spec);
      const changed = JSON.stringify(planned.measures) !== JSON.stringify(hardening);
      hardening = planned.measures;
      if (changed) ports.hardened(upstream, hardening);
      return planned;
    };
    return {
      open: (session) => {
        const stdio: StdioPorts = {
          ...ports,
          acquire,
          inspect,
          plan,
          problem,
          noise,
          stderr: (line) => ports.stderr(upstream, line),
          started: ({ pid, credentials }) => opened(session, pid, credentials),
          exited: (child) => {
            pids.delete(child.pid);
            ports.exited({ upstream, ...child });
          },
        };
        // A child that holds nothing of the kind is spared the bookkeeping.
        if (!holdsRenewable(spec)) return (_grant, events) => openStdio(spec, stdio, events);
        const renewal = {
          name: upstream,
          open: (events: TransportEvents) => openStdio(spec, stdio, events),
          startTimeoutMs: spec.startTimeoutMs,
          problem,
        };
        return (_grant, events) => openRenewing(renewal, events);
      },
      prepare: async () => void (await plan()),
      report,
      close: () => {},
    };
  }

  const shared = shareHttp(spec, tools);
  const open = spec.transport === 'http' ? openHttp : openSse;
  return {
    open: (session) => {
      const http: HttpPorts = {
        acquire,
        freshness: ports.freshness,
        scrubber: ports.scrubber,
        messageBytes: ports.messageBytes,
        shared,
        problem,
        noise,
        opened: ({ credentials }) => opened(session, null, credentials),
        closed: () => {},
      };
      return (_grant, events) => open(spec, http, events);
    },
    prepare: async () => {},
    report,
    close: () => shared.close(),
  };
}
