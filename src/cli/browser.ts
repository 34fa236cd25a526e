/** Opening a URL in the user's browser: an absolute program, no shell, http and https alone (E5). */
import { spawn } from 'node:child_process';
import { agentEnvironment, type Environment, sealedForSpawn } from '../environment.ts';
import { isExecutable } from '../executable.ts';

const openers =
  process.platform === 'darwin' ? ['/usr/bin/open'] : ['/usr/bin/xdg-open', '/usr/local/bin/xdg-open'];

/** What a desktop's programs need to find it, beyond what an agent gets. */
const desktop = [
  'DBUS_SESSION_BUS_ADDRESS',
  'XAUTHORITY',
  'XDG_CURRENT_DESKTOP',
  'XDG_SESSION_TYPE',
  'BROWSER',
];

/** The program that opens a browser; `null` where none would be seen: over SSH, or without a display. */
export function findOpener(env: Environment): string | null {
  if (env.SSH_CONNECTION !== undefined) return null;
  if (process.platform !== 'darwin' && env.DISPLAY === undefined && env.WAYLAND_DISPLAY === undefined)
    return null;
  return openers.find(isExecutable) ?? null;
}

/**
 * @param opener of {@link findOpener}
 * @param failed hears that it did not work; the URL was shown anyhow
 */
export function openBrowser(opener: string, url: URL, env: Environment, failed: () => void): void {
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw new Error('browser: not a web address');
  const child = spawn(opener, [url.href], {
    cwd: '/',
    env: sealedForSpawn(agentEnvironment(env, { pass: desktop, removeNames: [] })),
    stdio: 'ignore',
    detached: true,
    shell: false,
  });
  child.on('error', failed);
  child.on('exit', (code) => {
    if (code !== 0) failed();
  });
  child.unref();
}
