/**
 * agents.sock: where users whom the configuration lists get sessions from a daemon that is not theirs (level L2). They
 * lease one for their own uid and bind it, and nothing else: no secret, no configuration, nobody else's session (B7).
 */
import type { Server } from 'node:http';
import { type LocalHandler, type LocalPorts, localServer } from './local-server.ts';
import { Routes } from './routes.ts';
import { bindSessionCall, openSessionCall, type SessionCallPorts } from './session-calls.ts';

export function agentsDoor(ports: SessionCallPorts & LocalPorts): Server {
  const table = new Routes<LocalHandler>()
    .on('POST', '/v1/sessions', openSessionCall(ports, true))
    .on('POST', '/v1/sessions/:id/bind', bindSessionCall(ports));
  return localServer(table, ports);
}
