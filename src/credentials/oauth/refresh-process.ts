/**
 * Asks for new tokens in a process of its own, which neither our end nor a signal to our group ends: between the server's
 * answer and its file nothing but its own death can lose it. It also keeps the packages of OAuth out of the daemon.
 */
import type { spawn } from 'node:child_process';
import { sealedForSpawn } from '../../environment.ts';
import { programFile } from '../../paths.ts';
import type { Login } from './login.ts';
import type { Attempt } from './login-store.ts';

/** What its standard input says, as JSON. */
export interface RefreshRequest {
  /** Where the answer goes. */
  readonly directory: string;
  readonly id: string;
  readonly key: string;
  readonly login: Login;
  /** Certificates to trust beside Node's own. */
  readonly caFile: string | null;
}

const workerFile = programFile('credentials/oauth/refresh-worker.js');

/** No inspector on SIGUSR1, where this Node can be told so from the start. */
const flags = ['--disable-sigusr1'].filter((flag) => process.allowedNodeEnvironmentFlags.has(flag));

/**
 * @param caFile certificates to trust beside Node's own
 * @param lock descriptor of the login's turn, which the process holds with us, and after us
 * @returns when it is over, however it ended; what it learnt is in the answer's file
 */
export function askInProcess(
  start: typeof spawn,
  directory: string,
  id: string,
  login: Login,
  caFile: string | null,
  { key }: Attempt,
  lock: number,
): Promise<void> {
  const child = start(process.execPath, [...flags, workerFile], {
    cwd: '/',
    env: sealedForSpawn({}),
    stdio: ['pipe', 'ignore', 'ignore', lock],
    detached: true,
  });
  const request: RefreshRequest = { directory, id, key, login, caFile };
  child.stdin?.on('error', () => {});
  child.stdin?.end(JSON.stringify(request));
  return new Promise((resolve) => {
    child.on('error', () => resolve());
    child.on('exit', () => resolve());
  });
}
