/** The configured upstreams: opens one per granted conversation, knows which run, and ends them all. */
import type { Grant } from '../auth/grant.ts';
import { isRefusal, type Refusal, refuse } from '../errors.ts';
import type { Era } from '../revisions.ts';
import { openStdio, type StdioPorts, type StdioSpec } from './stdio.ts';
import { expose } from './transport.ts';
import type { Upstream, UpstreamEvents, UpstreamLimits } from './upstream.ts';

/** What can be opened now; the rest is refused. */
export type UpstreamSpec = UpstreamLimits & {
  /** `session`: one child per conversation. `shared`: one for all. `disabled`: none. */
  readonly lifecycle: 'session' | 'shared' | 'disabled';
} & (
    | ({ readonly transport: 'stdio' } & StdioSpec)
    | { readonly transport: 'http' | 'sse'; readonly name: string; readonly url: string }
  );

export interface UpstreamStatus {
  readonly name: string;
  readonly lifecycle: UpstreamSpec['lifecycle'];
  /** Pids of the children that run now. */
  readonly running: readonly number[];
  readonly starts: number;
  readonly lastExit: string | null;
  /** Why it could not be started, when that was the last that happened. */
  readonly lastProblem: string | null;
}

export type RegistryPorts = Omit<StdioPorts, 'started' | 'exited' | 'problem' | 'stderr' | 'noise'> & {
  readonly started: (event: {
    upstream: string;
    pid: number;
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
};

interface Entry {
  readonly spec: UpstreamSpec;
  readonly open: Set<Upstream>;
  readonly pids: Set<number>;
  starts: number;
  lastExit: string | null;
  lastProblem: string | null;
}

export class Upstreams {
  readonly #entries: ReadonlyMap<string, Entry>;
  readonly #ports: RegistryPorts;
  #closing = false;

  constructor(specs: Iterable<UpstreamSpec>, ports: RegistryPorts) {
    this.#ports = ports;
    this.#entries = new Map(
      [...specs].map((spec) => [
        spec.name,
        {
          spec,
          open: new Set<Upstream>(),
          pids: new Set<number>(),
          starts: 0,
          lastExit: null,
          lastProblem: null,
        },
      ]),
    );
  }

  limitsOf(name: string): UpstreamLimits | undefined {
    return this.#entries.get(name)?.spec;
  }

  /** Starts the upstream that the grant names, for the conversation whose events these are. */
  async open(grant: Grant, era: Era, events: UpstreamEvents): Promise<Upstream | Refusal> {
    const { upstream: name } = grant.call;
    const entry = this.#entries.get(name);
    if (entry === undefined) return refuse('not_found', 'no such upstream');
    const { spec } = entry;
    if (spec.lifecycle === 'disabled') return refuse('upstream_unavailable', `upstream ${name} is disabled`);
    if (spec.transport !== 'stdio' || spec.lifecycle === 'shared')
      return refuse('upstream_unavailable', `upstream ${name} is of a kind that is not supported yet`);
    if (this.#closing) return refuse('shutting_down', 'ostiary is shutting down');
    if (era === 'modern') return refuse('era_unsupported', `upstream ${name} speaks the legacy protocol`);
    let opened: Upstream | null = null;
    const ports = this.#portsFor(entry, grant.caller.session.id);
    const upstream = await expose((_, on) => openStdio(spec, ports, on), grant, ports.scrubber, {
      ...events,
      onExit: (reason) => {
        entry.lastExit = reason;
        if (opened !== null) entry.open.delete(opened);
        events.onExit(reason);
      },
    });
    if (isRefusal(upstream)) return upstream;
    opened = upstream;
    entry.open.add(upstream);
    if (this.#closing) {
      await upstream.stop();
      return refuse('shutting_down', 'ostiary is shutting down');
    }
    return upstream;
  }

  #portsFor(entry: Entry, session: string): StdioPorts {
    const upstream = entry.spec.name;
    const ports = this.#ports;
    return {
      ...ports,
      started: (child) => {
        entry.starts++;
        entry.lastProblem = null;
        entry.pids.add(child.pid);
        ports.started({ upstream, session, ...child });
      },
      exited: (child) => {
        entry.pids.delete(child.pid);
        ports.exited({ upstream, ...child });
      },
      problem: (message) => {
        entry.lastProblem = message;
        ports.problem(upstream, message);
      },
      stderr: (line) => ports.stderr(upstream, line),
      noise: (bytes) => ports.noise(upstream, bytes),
    };
  }

  status(): UpstreamStatus[] {
    return [...this.#entries.values()].map(({ spec, pids, starts, lastExit, lastProblem }) => ({
      name: spec.name,
      lifecycle: spec.lifecycle,
      running: [...pids],
      starts,
      lastExit,
      lastProblem,
    }));
  }

  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all([...this.#entries.values()].flatMap(({ open }) => [...open].map((one) => one.stop())));
  }
}
