/** The resident daemon, found by its control socket. */
import { existsSync } from 'node:fs';
import { Failure } from '../errors.ts';
import { controlSocket, runtimeDirectory } from '../paths.ts';
import { ControlClient } from './control.ts';

interface Status {
  readonly version: string;
  readonly config: string | null;
}

/** The resident daemon, if one runs. */
export async function residentDaemon(
  runtime: string = runtimeDirectory(process.env),
): Promise<{ client: ControlClient; status: Status } | null> {
  const socket = controlSocket(runtime);
  if (!existsSync(socket)) return null;
  const client = new ControlClient(socket);
  try {
    return { client, status: await client.status<Status>() };
  } catch (error) {
    const code =
      error instanceof Failure && error.cause instanceof Error && 'code' in error.cause
        ? error.cause.code
        : '';
    // The socket outlived a daemon that was killed.
    if (code === 'ECONNREFUSED' || code === 'ENOENT') return null;
    throw error;
  }
}
