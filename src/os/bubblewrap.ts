/** bubblewrap, which gives a program namespaces of its own, for whoever may make them: found by trying, once. */
import { spawn } from 'node:child_process';
import { sealedForSpawn } from '../environment.ts';
import { isExecutable } from '../executable.ts';

export type Bubblewrap = { readonly path: string } | { readonly missing: string };

/** Where packages of distributions put it. Not looked for in PATH, which others may have written, or an agent (A14). */
export const bubblewrapPlaces: readonly string[] = [
  '/usr/bin/bwrap',
  '/usr/local/bin/bwrap',
  '/bin/bwrap',
  '/run/current-system/sw/bin/bwrap',
];

/** Its absolute path; `null` when it is not installed. */
export function findBubblewrap(): string | null {
  return bubblewrapPlaces.find(isExecutable) ?? null;
}

/** Everything that we use of it: kernels, containers and AppArmor forbid one or the other. */
const TRIAL = ['--unshare-pid', '--die-with-parent', '--dev-bind', '/', '/', '--proc', '/proc', '--', 'true'];

function tried(path: string): Promise<Bubblewrap> {
  return new Promise((resolve) => {
    const child = spawn(path, TRIAL, {
      cwd: '/',
      env: sealedForSpawn({ PATH: '/usr/bin:/bin' }),
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString('latin1');
    });
    child.on('error', (error) => resolve({ missing: `${path} cannot be run: ${error.message}` }));
    child.on('close', (code) => {
      const why = said.split('\n', 1)[0] ?? '';
      resolve(code === 0 ? { path } : { missing: `bubblewrap does not work here: ${why}` });
    });
  });
}

let found: Promise<Bubblewrap> | undefined;

/** Its absolute path, if it can make a PID namespace here; else why not, for people. */
export function bubblewrap(): Promise<Bubblewrap> {
  if (found !== undefined) return found;
  const path = findBubblewrap();
  if (process.platform !== 'linux')
    found = Promise.resolve({ missing: 'there is no bubblewrap but on Linux' });
  else if (path === null) found = Promise.resolve({ missing: 'bubblewrap is not installed' });
  else found = tried(path);
  return found;
}
