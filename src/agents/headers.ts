/** `ostiary headers`: prints the headers of a fresh bearer token, for clients that ask a helper for theirs. */
import { request } from 'node:http';
import { Failure } from '../errors.ts';

/** Asks the session's socket for a token; whoever can reach the socket may have one. */
export function fetchToken(socket: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = (why: string): void =>
      reject(
        new Failure('daemon', `no token from the session at ${socket}: ${why}`, {
          hint: 'has the session ended?',
        }),
      );
    const asked = request({
      socketPath: socket,
      path: '/token',
      method: 'POST',
      headers: { host: 'localhost' },
    });
    asked.on('error', (error: NodeJS.ErrnoException) => fail(error.code ?? error.message));
    asked.on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        if (response.statusCode !== 200) return fail(`status ${response.statusCode}`);
        resolve((JSON.parse(Buffer.concat(chunks).toString()) as { token: string }).token);
      });
    });
    asked.end();
  });
}

/** @param session its socket, or what an agent has that cannot reach it: the token itself */
export async function authorizationHeaders(session: string | { readonly token: string }): Promise<string> {
  const token = typeof session === 'string' ? await fetchToken(session) : session.token;
  return JSON.stringify({ Authorization: `Bearer ${token}` });
}
