/** How connections to one upstream are made, by its transport, and what is known of those that were. */
import { type Destination, destinationOf } from '../credentials/destination.ts';
import type { CredentialRef } from '../credentials/ref.ts';
import type { Scrubber } from '../credentials/scrubber.ts';
import type { Secret } from '../credentials/secret.ts';
import type { Freshness } from './acquire.ts';
import { type HttpPorts, type HttpSpec, shareHttp } from './http/endpoint.ts';
import { openHttp } from './http/http.ts';
import { openSse } from './http/sse.ts';
import type { ToolHeaders } from './http/tool-headers.ts';
import type { Guard } from './stdio/launch.ts';
import type { FileGuard } from './stdio/private-files.ts';
import { openStdio, type StdioPorts, type StdioSpec } from './stdio/stdio.ts';
import type { OpenTransport } from './transport.ts';

export type TransportSpec =
  | ({ readonly transport: 'stdio' } & StdioSpec)
  | ({ readonly transport: 'http' | 'sse' } & HttpSpec);

export interface ConnectorPorts {
  readonly acquire: (ref: CredentialRef, to: Destination) => Promise<Secret>;
  readonly freshness: Freshness;
  readonly scrubber: Scrubber;
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
}

export interface Connector {
  /** For the session whose call needs the connection; audit shows it. */
  open(session: string): OpenTransport;
  report(): Report;
  /** Lets go of what connections share. */
  close(): void;
}

export function connector(spec: TransportSpec, ports: ConnectorPorts, tools: ToolHeaders): Connector {
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
  const report = (): Report => ({ running: [...pids], starts, lastProblem });

  if (spec.transport === 'stdio')
    return {
      open: (session) => {
        const stdio: StdioPorts = {
          ...ports,
          acquire,
          problem,
          noise,
          stderr: (line) => ports.stderr(upstream, line),
          started: ({ pid, credentials }) => opened(session, pid, credentials),
          exited: (child) => {
            pids.delete(child.pid);
            ports.exited({ upstream, ...child });
          },
        };
        return (_grant, events) => openStdio(spec, stdio, events);
      },
      report,
      close: () => {},
    };

  const shared = shareHttp(spec.url, tools);
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
    report,
    close: () => shared.close(),
  };
}
