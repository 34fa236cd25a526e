/** The calls that open and bind a session, the same on control.sock and agents.sock. */
import type { ServerResponse } from 'node:http';
import type { BindingReport } from '../auth/binding.ts';
import type { Peer } from '../auth/session.ts';
import { isRefusal, type Refusal, refuse } from '../errors.ts';
import { type LocalHandler, readJson, send, sendRefused } from './local-server.ts';

/** What a new session's owner has to know. */
export interface SessionReport {
  readonly id: string;
  readonly profile: string;
  readonly label: string;
  /** The session's Unix socket. */
  readonly socket: string;
  /** Base of the loopback endpoint; `/mcp/<upstream>` follows. `null` where TCP peers cannot be identified. */
  readonly url: string | null;
  /** Names of the upstreams that the profile lets it use. */
  readonly upstreams: readonly string[];
  /** Only when it was asked for. */
  readonly token?: string;
}

export interface SessionWish {
  readonly profile: string;
  readonly label: string;
  readonly lease: boolean;
  readonly token: boolean;
}

export interface BindWish {
  /** A process in the namespace or cgroup, or the topmost one. */
  readonly pid: number;
  readonly kind: Exclude<BindingReport['kind'], 'uid'>;
}

const kinds: readonly string[] = ['pid-namespace', 'cgroup', 'ancestry'] satisfies BindWish['kind'][];

export interface SessionCallPorts {
  /** For the uid of that peer. */
  readonly openSession: (wish: SessionWish, peer: Peer) => Promise<SessionReport | Refusal>;
  /** A session of that peer's uid. */
  readonly bindSession: (id: string, wish: BindWish, peer: Peer) => Promise<BindingReport | Refusal>;
  /** Resolves when nothing of it is left; `false`: there is none. */
  readonly endSession: (id: string, reason: string) => Promise<boolean>;
  /** A leased session of that peer's uid. */
  readonly endLease: (id: string, peer: Peer) => Promise<boolean>;
}

/** Why a session ended. */
export const leaseOver = 'its run ended';

/** A lease is the response itself: while the client keeps it open the session lives, however the client ends. */
function lend(response: ServerResponse, report: SessionReport, end: () => void): void {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.write(`${JSON.stringify(report)}\n`);
  response.on('close', end);
}

function sendEnded(response: ServerResponse, found: boolean): void {
  if (found) response.writeHead(204).end();
  else send(response, { error: 'no such session' }, 404);
}

/** @param leasesOnly a session that outlives its client is refused */
export function openSessionCall(ports: SessionCallPorts, leasesOnly: boolean): LocalHandler {
  return async (request, response, _params, peer) => {
    const sent = await readJson(request);
    if (isRefusal(sent)) return sendRefused(response, sent);
    const { profile = 'default', label = '', ...wish } = sent.fields;
    if (typeof profile !== 'string' || typeof label !== 'string')
      return sendRefused(response, refuse('bad_message', 'expected "profile" and "label" to be strings'));
    const lease = wish.lease === true;
    if (leasesOnly && !lease)
      return sendRefused(response, refuse('bad_message', 'expected "lease" to be true here'));
    const report = await ports.openSession({ profile, label, lease, token: wish.token === true }, peer);
    if (isRefusal(report)) return sendRefused(response, report);
    if (!lease) return send(response, report);
    // It may have gone while the session was made.
    const end = (): void => void ports.endSession(report.id, leaseOver);
    if (response.destroyed) end();
    else lend(response, report, end);
  };
}

export function bindSessionCall(ports: SessionCallPorts): LocalHandler {
  return async (request, response, { id = '' }, peer) => {
    const sent = await readJson(request);
    if (isRefusal(sent)) return sendRefused(response, sent);
    const { pid, kind } = sent.fields;
    if (!Number.isSafeInteger(pid) || (pid as number) <= 0 || !kinds.includes(String(kind)))
      return sendRefused(
        response,
        refuse('bad_message', `expected "pid" to be a process and "kind" one of ${kinds.join(', ')}`),
      );
    const wish = { pid: pid as number, kind: kind as BindWish['kind'] };
    const bound = await ports.bindSession(decodeURIComponent(id), wish, peer);
    if (isRefusal(bound)) sendRefused(response, bound);
    else send(response, bound);
  };
}

/** For a client that wants to know that all is gone, which the end of its lease does not tell. */
export function endLeaseCall(ports: SessionCallPorts): LocalHandler {
  return async (_request, response, { id = '' }, peer) =>
    sendEnded(response, await ports.endLease(decodeURIComponent(id), peer));
}

/** By whoever keeps the control plane. */
export function endSessionCall(ports: SessionCallPorts): LocalHandler {
  return async (_request, response, { id = '' }) =>
    sendEnded(response, await ports.endSession(decodeURIComponent(id), 'ended by the user'));
}
