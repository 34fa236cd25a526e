/** The configured upstreams, by name. */
import type { Grant } from '../auth/grant.ts';
import { type Refusal, refuse } from '../errors.ts';
import type { Era } from '../revisions.ts';
import { ToolHeaders } from './http/tool-headers.ts';
import { Supervisor, type SupervisorPorts, type UpstreamSpec, type UpstreamStatus } from './supervisor.ts';
import type { Upstream, UpstreamEvents, UpstreamLimits } from './upstream.ts';

export class Upstreams {
  readonly #supervisors: ReadonlyMap<string, Supervisor>;

  constructor(specs: Iterable<UpstreamSpec>, ports: SupervisorPorts) {
    this.#supervisors = new Map([...specs].map((spec) => [spec.name, new Supervisor(spec, ports)]));
  }

  /** One after the other: somebody may be waiting for the daemon meanwhile. */
  async prepare(): Promise<void> {
    for (const supervisor of this.#supervisors.values()) await supervisor.prepare();
  }

  limitsOf(name: string): UpstreamLimits | undefined {
    return this.#supervisors.get(name)?.limits;
  }

  /** What has been seen of the upstream's tools. */
  toolsOf(name: string): ToolHeaders {
    return this.#supervisors.get(name)?.tools ?? new ToolHeaders();
  }

  /** Opens the upstream that the grant names, for the conversation whose events these are. */
  open(grant: Grant, era: Era, events: UpstreamEvents): Promise<Upstream | Refusal> {
    const supervisor = this.#supervisors.get(grant.call.upstream);
    return supervisor === undefined
      ? Promise.resolve(refuse('not_found', 'no such upstream'))
      : supervisor.open(grant, era, events);
  }

  status(): UpstreamStatus[] {
    return [...this.#supervisors.values()].map((supervisor) => supervisor.status());
  }

  /** The session has ended: what was open for it alone ends too. */
  async endSession(session: string): Promise<void> {
    await Promise.all([...this.#supervisors.values()].map((supervisor) => supervisor.endSession(session)));
  }

  /** Ends what nobody has used for too long. */
  sweep(): void {
    for (const supervisor of this.#supervisors.values()) supervisor.sweep();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#supervisors.values()].map((supervisor) => supervisor.close()));
  }
}
