/**
 * The control plane: a Unix socket (0600 in a 0700 directory, peer uid checked) for the CLI. It makes and ends sessions
 * and tells how the daemon is; it returns no secret, and nothing of it can be reached from the agent plane (B7).
 */
import type { Server } from 'node:http';
import { isRefusal, refuse } from '../errors.ts';
import { isObject } from '../jsonrpc.ts';
import type { Clearance, NamedExposure } from './clearance.ts';
import { unframe } from './frames.ts';
import {
  type LocalHandler,
  type LocalPorts,
  localServer,
  readJson,
  send,
  sendRefused,
} from './local-server.ts';
import { Routes } from './routes.ts';
import {
  bindSessionCall,
  endLeaseCall,
  endSessionCall,
  openSessionCall,
  type SessionCallPorts,
} from './session-calls.ts';

export type { BindWish, SessionReport, SessionWish } from './session-calls.ts';

export interface ControlPorts extends SessionCallPorts, LocalPorts {
  readonly status: () => Promise<object>;
  readonly listSessions: () => readonly object[];
  /** Names of those variables that hold a configured secret, by name or by value. */
  readonly findSecrets: (env: Readonly<Record<string, string>>) => Promise<readonly string[]>;
  /** For `run --ci`. */
  readonly clearance: Clearance;
  readonly auditHead: () => { readonly seq: number; readonly hash: string };
  readonly shutdown: () => void;
}

function isCounts(value: unknown): value is Readonly<Record<string, number>> {
  return isObject(value) && Object.values(value).every((count) => Number.isSafeInteger(count));
}

function isNamedExposure(value: unknown): value is NamedExposure {
  return isObject(value) && typeof value.place === 'string' && typeof value.label === 'string';
}

function routes(ports: ControlPorts): Routes<LocalHandler> {
  const findSecrets: LocalHandler = async (request, response) => {
    const sent = await readJson(request);
    if (isRefusal(sent)) return sendRefused(response, sent);
    const { env } = sent.fields;
    const entries = Object.entries(typeof env === 'object' && env !== null ? env : {});
    const variables = Object.fromEntries(entries.filter(([, value]) => typeof value === 'string'));
    send(response, { remove: await ports.findSecrets(variables) });
  };
  const look: LocalHandler = async (request, response, { id = '' }) =>
    send(response, await ports.clearance.look(decodeURIComponent(id), unframe(request)));
  const state: LocalHandler = async (request, response, { id = '' }) => {
    const sent = await readJson(request);
    if (isRefusal(sent)) return sendRefused(response, sent);
    const { isolation, skipped } = sent.fields;
    if (typeof isolation !== 'string' || !isCounts(skipped))
      return sendRefused(response, refuse('bad_message', 'expected "isolation" and "skipped"'));
    const key = await ports.clearance.state(decodeURIComponent(id), { isolation, skipped });
    send(response, { key, ...ports.auditHead() });
  };
  const refuseAgent: LocalHandler = async (request, response, { id = '' }) => {
    const sent = await readJson(request);
    if (isRefusal(sent)) return sendRefused(response, sent);
    const { exposed } = sent.fields;
    if (!Array.isArray(exposed) || !exposed.every(isNamedExposure))
      return sendRefused(response, refuse('bad_message', 'expected "exposed" to be places and labels'));
    send(response, { exposed: await ports.clearance.refuse(decodeURIComponent(id), exposed) });
  };
  return new Routes<LocalHandler>()
    .on('POST', '/v1/sessions/:id/look', look)
    .on('POST', '/v1/sessions/:id/cleared', state)
    .on('POST', '/v1/sessions/:id/refused', refuseAgent)
    .on('GET', '/v1/status', async (_request, response) => send(response, await ports.status()))
    .on('GET', '/v1/sessions', (_request, response) => send(response, ports.listSessions()))
    .on('POST', '/v1/sessions', openSessionCall(ports, false))
    .on('POST', '/v1/sessions/:id/bind', bindSessionCall(ports))
    .on('DELETE', '/v1/sessions/:id', endSessionCall(ports))
    .on('DELETE', '/v1/leases/:id', endLeaseCall(ports))
    .on('POST', '/v1/environment', findSecrets)
    .on('GET', '/v1/audit/head', (_request, response) => send(response, ports.auditHead()))
    .on('POST', '/v1/shutdown', (_request, response) => {
      setImmediate(ports.shutdown);
      response.writeHead(202, { 'content-length': 0 }).end();
    });
}

/** The server; the caller makes it listen on `control.sock`. */
export function controlServer(ports: ControlPorts): Server {
  return localServer(routes(ports), ports);
}
