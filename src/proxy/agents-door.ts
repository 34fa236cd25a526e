/**
 * agents.sock: where users whom the configuration lists get sessions from a daemon that is not theirs (level L2). They
 * lease one for their own uid, bind it and end it, and nothing else: no secret, no configuration, nobody else's session (B7).
 */
import { readdirSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import { join } from 'node:path';
import { groupDirectory } from '../files.ts';
import { agentsSocket } from '../paths.ts';
import { listenForGroup } from './listen.ts';
import { type LocalHandler, type LocalPorts, localServer } from './local-server.ts';
import { Routes } from './routes.ts';
import { bindSessionCall, endLeaseCall, openSessionCall, type SessionCallPorts } from './session-calls.ts';

/** The server; the caller makes it listen, by {@link openToGroup}. */
export function agentsDoor(ports: SessionCallPorts & LocalPorts): Server {
  const table = new Routes<LocalHandler>()
    .on('POST', '/v1/sessions', openSessionCall(ports, true))
    .on('POST', '/v1/sessions/:id/bind', bindSessionCall(ports))
    .on('DELETE', '/v1/leases/:id', endLeaseCall(ports));
  return localServer(table, ports);
}

/** @param path of a directory of ours alone; the group may enter it from now on */
export async function openToGroup(door: Server, path: string, gid: number): Promise<void> {
  const directory = groupDirectory(path, gid);
  // What a killed daemon left: the directory is the daemon's own as much as the private one.
  for (const name of readdirSync(directory)) rmSync(join(directory, name), { recursive: true, force: true });
  await listenForGroup(door, agentsSocket(directory), gid);
}
