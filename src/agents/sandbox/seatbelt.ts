/** Seatbelt, by sandbox-exec(1) of macOS. Untested: no Mac has run this. */
import { dirname, join } from 'node:path';
import type { AgentSpec } from '../launch.ts';
import { credentialPaths } from './credentials.ts';

/** As a string of the profile's language. */
function quoted(path: string): string {
  return `"${path.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}

function ancestors(path: string): string[] {
  const above = dirname(path);
  return above === path ? [] : [above, ...ancestors(above)];
}

export interface SeatbeltPaths {
  readonly home: string;
  /** Ours: state, configuration, sockets. */
  readonly own: readonly string[];
  /** The session's directory, which lies in one of them. */
  readonly session: string;
}

/** What counts is the last rule that matches. */
export function seatbeltProfile({ home, own, session }: SeatbeltPaths): string {
  const hidden = [
    ...own,
    join(home, 'Library/Keychains'),
    ...credentialPaths.map((name) => join(home, name)),
  ];
  const pinned = [...new Set(own.flatMap(ancestors))];
  return [
    '(version 1)',
    '(allow default)',
    '(deny process-info* (target others))',
    '(deny signal (target others))',
    '(deny mach-priv-task-port (target others))',
    '(deny sysctl-read (sysctl-name-prefix "kern.procargs2"))',
    '(deny mach-lookup (global-name "com.apple.SecurityServer") (global-name "com.apple.securityd.xpc") (global-name "com.apple.secd"))',
    '(deny appleevent-send)',
    '(deny lsopen)',
    ...hidden.map((path) => `(deny file-read* file-write* network-outbound (subpath ${quoted(path)}))`),
    ...pinned.map((path) => `(deny file-write* (literal ${quoted(path)}))`),
    `(allow file-read* network-outbound (subpath ${quoted(session)}))`,
  ].join('\n');
}

export function seatbeltCommand(agent: AgentSpec, paths: SeatbeltPaths): AgentSpec {
  const { command, args, env } = agent;
  return { command: '/usr/bin/sandbox-exec', args: ['-p', seatbeltProfile(paths), command, ...args], env };
}
