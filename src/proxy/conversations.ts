/**
 * The front desk: opens conversations for callers, with one upstream in either era, or with all that their profile has
 * as one. An upstream that the profile does not have looks like one that does not exist.
 */
import { hasUpstream, type Policy } from '../auth/policy.ts';
import type { Caller, Sessions } from '../auth/session.ts';
import { isRefusal, type Refusal, refuse } from '../errors.ts';
import { limits } from '../limits.ts';
import { Throttle } from '../throttle.ts';
import type { ToolHeaders } from '../upstreams/http/tool-headers.ts';
import type { Upstreams } from '../upstreams/registry.ts';
import type { UpstreamSpec } from '../upstreams/supervisor.ts';
import type { Audit } from './audit/audit.ts';
import { Conversation, type ConversationPorts } from './conversation.ts';
import type { Desk } from './desk.ts';
import type { Front } from './front.ts';
import type { FrontDesk } from './http.ts';
import { ListMemory } from './list-cache.ts';
import { filterList } from './lists.ts';
import type { LoginPages } from './login-pages.ts';
import { openMerged } from './merge/open.ts';
import { handle } from './pipeline.ts';

/** What a line of the log is about. */
interface Subject {
  readonly upstream: string;
  readonly session: string;
  /** Lines like this one that were left out before it. */
  readonly heldBack?: number;
}

export interface ConversationsPorts {
  readonly desk: Desk;
  readonly sessions: Sessions;
  readonly policy: Policy;
  readonly audit: Audit;
  readonly upstreams: Upstreams;
  /** The same ones as they are configured, by name. */
  readonly specs: ReadonlyMap<string, UpstreamSpec>;
  readonly pages: LoginPages;
  /** Base of the loopback endpoint, where the pages are; `null` where there is none. */
  readonly url: () => string | null;
  readonly warn: (about: Subject, message: string) => void;
  /** An upstream could not be opened, by an error that is no refusal. */
  readonly failed: (upstream: string, error: unknown) => void;
}

type UpstreamPorts = Omit<ConversationPorts, 'closed'>;

export class Conversations implements FrontDesk {
  readonly #ports: ConversationsPorts;
  readonly #listMemory = new ListMemory();

  constructor(ports: ConversationsPorts) {
    this.#ports = ports;
  }

  open(caller: Caller, upstream: string | null): Front | Refusal {
    const ended = this.#ports.sessions.stillOpen(caller);
    if (ended !== undefined) return ended;
    return upstream === null ? this.#openMerged(caller) : this.#openOne(caller, upstream);
  }

  openStateless(caller: Caller, upstream: string): Front | Refusal {
    const { desk, sessions } = this.#ports;
    const ports = sessions.stillOpen(caller) ?? this.#visiblePorts(caller, upstream);
    if (isRefusal(ports)) return ports;
    return desk.openStateless(caller, (id, closed) => {
      // A subscription may be all that a modern client has open for a day.
      const release = sessions.hold(caller.session.id);
      return new Conversation(id, caller, upstream, 'modern', {
        ...ports,
        closed: () => {
          release();
          closed();
        },
      });
    });
  }

  find(caller: Caller, upstream: string | null, id: string): Front | Refusal {
    return this.#ports.desk.find(caller, upstream, id);
  }

  toolsOf(upstream: string): ToolHeaders {
    return this.#ports.upstreams.toolsOf(upstream);
  }

  #openOne(caller: Caller, upstream: string): Front | Refusal {
    const ports = this.#visiblePorts(caller, upstream);
    if (isRefusal(ports)) return ports;
    return this.#ports.desk.open(
      caller,
      upstream,
      (id, closed) => new Conversation(id, caller, upstream, 'legacy', { ...ports, closed }),
    );
  }

  #openMerged(caller: Caller): Front | Refusal {
    const { desk, policy, audit, specs, warn } = this.#ports;
    const visible = [...specs.values()].filter(
      ({ name, lifecycle }) => lifecycle !== 'disabled' && hasUpstream(policy, caller, name),
    );
    return openMerged(
      caller,
      visible.map(({ name }) => name),
      {
        desk,
        policy,
        audit,
        conversation: (name) => this.#upstreamPorts(caller, name),
        problem: (upstream, message) => warn({ upstream, session: caller.session.id }, `at /mcp: ${message}`),
      },
    );
  }

  #visiblePorts(caller: Caller, upstream: string): UpstreamPorts | Refusal {
    const ports = this.#upstreamPorts(caller, upstream);
    return ports !== null && hasUpstream(this.#ports.policy, caller, upstream)
      ? ports
      : refuse('not_found', 'no such upstream in this session');
  }

  /** `null` when there is no such upstream. */
  #upstreamPorts(caller: Caller, upstream: string): UpstreamPorts | null {
    const { policy, audit, upstreams, specs, failed } = this.#ports;
    const limitsOf = upstreams.limitsOf(upstream);
    if (limitsOf === undefined) return null;
    return {
      take: (conversation, message, sink) => handle({ policy, audit }, conversation, message, sink),
      open: (grant, era, events) =>
        upstreams.open(grant, era, events).catch((error: unknown) => {
          // A full disk, say: it is this call's trouble, and nobody else's.
          failed(upstream, error);
          return refuse(
            'upstream_unavailable',
            `upstream ${upstream} could not be opened: see ostiary status`,
          );
        }),
      limits: limitsOf,
      listed: (bytes) => upstreams.toolsOf(upstream).learn(bytes),
      filter: (method, bytes) => filterList(bytes, method, policy, caller, upstream),
      // Over HTTP a notice may get lost between two streams.
      listMemory: specs.get(upstream)?.transport === 'stdio' ? this.#listMemory : null,
      consentPage: (command) => this.#consentPage(command),
      finished: (grant, startedAt, how) => audit.finished(grant, startedAt, how),
      dropped: this.#dropped(upstream, caller),
    };
  }

  #consentPage(command: string): { readonly id: string; readonly url: string } | null {
    const base = this.#ports.url();
    if (base === null) return null;
    const id = this.#ports.pages.add(command);
    return { id, url: `${base}/login/${id}` };
  }

  /** Logs what a conversation's upstream said to nobody, within its share of the log. */
  #dropped(upstream: string, { session }: Caller): (what: string) => void {
    const throttle = new Throttle({ burst: limits.logBurstBytes, perSecond: limits.logBytesPerSecond });
    return (what) => {
      const heldBack = throttle.pass(limits.logLineBytes + what.length);
      if (heldBack === null) return;
      const more = heldBack === 0 ? {} : { heldBack };
      this.#ports.warn({ upstream, session: session.id, ...more }, `dropped ${what}`);
    };
  }
}
