/**
 * Secrets of a private world outside of ostiary: in the user's own Secret Service, in the kernel's keyrings, and behind
 * sockets that trust whoever connects. Each is there for the time of the attack, or the world says why it is not.
 */
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import type { Door } from '../../../agents/attack/brief.ts';
import { busAddress } from '../../../credentials/keychain/bus-address.ts';
import { keychainFor } from '../../../credentials/keychain/keychain.ts';
import type { Environment } from '../../../environment.ts';
import { Failure } from '../../../errors.ts';
import { limits } from '../../../limits.ts';
import { addKey, type Keyring, keyrings, removeKey } from '../../../os/intrusion.ts';
import type { Canaries } from './canaries.ts';

export interface Store {
  readonly door: Door;
  readonly remove: () => Promise<void>;
}

function absent(why: string): Store {
  return { door: { absent: why }, remove: async () => {} };
}

/** @param name unique to the world */
export async function inKeychain(env: Environment, name: string, canaries: Canaries): Promise<Store> {
  const bus = busAddress(env);
  if (bus === null || !existsSync(bus.path)) return absent('no Secret Service: no D-Bus session');
  const item = { service: name, account: 'attack' };
  const keychain = keychainFor(env);
  try {
    await keychain.set(item, Buffer.from(canaries.make('keychain')));
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return absent(error.message);
  }
  return {
    door: { at: `${bus.path}\n${name}` },
    remove: async () => void (await keychain.delete(item)),
  };
}

/** In all that this process has: an agent inherits the session keyring, and the user's are there for all. */
export function inKeyrings(name: string, canaries: Canaries): Store {
  const held: Keyring[] = [];
  const value = Buffer.from(canaries.make('keyring'));
  let refused = '';
  for (const keyring of Object.keys(keyrings) as Keyring[])
    try {
      addKey(keyring, name, value, limits.attacksMs / 1000);
      held.push(keyring);
    } catch (error) {
      refused = error instanceof Error ? error.message : String(error);
    }
  if (held.length === 0) return absent(`no kernel keyrings: ${refused}`);
  return {
    door: { at: name },
    remove: async () => {
      for (const keyring of held)
        try {
          removeKey(keyring, name);
        } catch {
          // One may be linked into another: it has gone with that.
        }
    },
  };
}

async function talker(path: string, value: string): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.end(value);
  });
  server.listen(path);
  await once(server, 'listening');
  return server;
}

/** @param path begins with NUL for an abstract one */
export async function behindSocket(path: string, value: string): Promise<Store> {
  const server = await talker(path, value);
  return {
    door: { at: path },
    remove: async () => void server.close(),
  };
}

/** Services of this machine that would do an agent's work outside. */
export function servicesHere(env: Environment): { docker: Door; tmux: Door; userManager: Door } {
  const at = (path: string, missing: string): Door => (existsSync(path) ? { at: path } : { absent: missing });
  const runtime = env.XDG_RUNTIME_DIR ?? `/run/user/${process.getuid?.()}`;
  const manager = existsSync(join(runtime, 'systemd', 'private'));
  return {
    docker: at('/var/run/docker.sock', 'no docker here'),
    tmux: at(`/tmp/tmux-${process.getuid?.()}/default`, 'no tmux is running'),
    userManager: manager ? { at: runtime } : { absent: 'no service manager of this user is running' },
  };
}
