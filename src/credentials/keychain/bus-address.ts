/** Which D-Bus session bus a keychain may be asked over. */
import { isAbsolute, join } from 'node:path';
import type { Environment } from '../../environment.ts';

/** A Unix socket; the path of an abstract one begins with NUL. */
export interface BusAddress {
  readonly path: string;
  /** As libdbus reads it. */
  readonly text: string;
}

/** `%2F` and the like (D-Bus specification, "Server Addresses"); `null` when it says nothing clear. */
function percentDecoded(text: string): string | null {
  if (!/^(?:[-0-9A-Za-z_/.\\*]|%[0-9A-Fa-f]{2})+$/.test(text)) return null;
  const bytes = text.replace(/%(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return bytes.includes('\0') ? null : Buffer.from(bytes, 'latin1').toString('utf8');
}

function percentEncoded(text: string): string {
  return [...Buffer.from(text)]
    .map((byte) => {
      const char = String.fromCharCode(byte);
      return /[-0-9A-Za-z_/.\\*]/.test(char) ? char : `%${byte.toString(16).padStart(2, '0')}`;
    })
    .join('');
}

function parse(address: string): BusAddress | null {
  const [, kind, escaped] = /^unix:(?:.*,)?(path|abstract)=([^,]*)(?:,|$)/.exec(address) ?? [];
  const name = escaped === undefined ? null : percentDecoded(escaped);
  if (name === null) return null;
  if (kind === 'abstract') return { path: `\0${name}`, text: `unix:abstract=${percentEncoded(name)}` };
  return isAbsolute(name) ? { path: name, text: `unix:path=${percentEncoded(name)}` } : null;
}

/**
 * The first Unix socket that `DBUS_SESSION_BUS_ADDRESS` names; without the variable, `bus` in `XDG_RUNTIME_DIR`, as
 * libdbus does. Other kinds are refused: `unixexec:` starts a program, and whoever answers on `tcp:` is nobody's uid (I1).
 * @returns `null` when there is none; no socket has been looked at
 */
export function busAddress(env: Environment): BusAddress | null {
  const given = env.DBUS_SESSION_BUS_ADDRESS;
  if (given !== undefined && given !== '')
    return given.split(';').reduce<BusAddress | null>((found, each) => found ?? parse(each), null);
  const runtime = env.XDG_RUNTIME_DIR;
  if (runtime === undefined || !isAbsolute(runtime)) return null;
  const path = join(runtime, 'bus');
  return { path, text: `unix:path=${percentEncoded(path)}` };
}
