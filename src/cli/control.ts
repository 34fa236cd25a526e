/** The CLI's end of the control plane. */
import { type IncomingMessage, request } from 'node:http';
import { pipeline, type Readable } from 'node:stream';
import type { BindingReport } from '../auth/binding.ts';
import { Failure } from '../errors.ts';
import { limits } from '../limits.ts';
import type { ClearanceFacts, LookReport, NamedExposure } from '../proxy/clearance.ts';
import type { BindWish, SessionReport, SessionWish } from '../proxy/control.ts';

export interface Lease {
  readonly report: SessionReport;
  /** Ends the session, and waits until nothing of it is left, but not for ever. */
  readonly release: () => Promise<void>;
  /** Resolves when the daemon has gone away. */
  readonly lost: Promise<void>;
}

function failureOf(status: number | undefined, body: string): Failure {
  let reason = `status ${status}`;
  try {
    reason = (JSON.parse(body) as { error?: string }).error ?? reason;
  } catch {
    // Not ours to parse: the status has to do.
  }
  // What the user named does not exist there: a profile, a session.
  return new Failure(status === 404 ? 'usage' : 'daemon', reason);
}

async function text(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

export class ControlClient {
  readonly #socket: string;
  readonly #hint: string;

  /** @param hint what to do when nobody answers */
  constructor(socket: string, hint = 'start it with: ostiary up') {
    this.#socket = socket;
    this.#hint = hint;
  }

  #send(method: string, path: string, body?: object, signal?: AbortSignal): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const sent = request({
        socketPath: this.#socket,
        // A connection of its own: one that was kept may have been closed by the daemon while we were busy.
        agent: false,
        method,
        path,
        ...(signal === undefined ? {} : { signal }),
        headers: { host: 'localhost', ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      });
      sent.on('error', (error: NodeJS.ErrnoException) =>
        reject(
          new Failure('daemon', `cannot reach the daemon: ${error.code ?? error.message}`, {
            hint: this.#hint,
            cause: error,
          }),
        ),
      );
      sent.on('response', resolve);
      sent.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  async #json<T>(method: string, path: string, body?: object): Promise<T> {
    const response = await this.#send(method, path, body);
    const answer = await text(response);
    if ((response.statusCode ?? 500) >= 400) throw failureOf(response.statusCode, answer);
    return (answer === '' ? undefined : JSON.parse(answer)) as T;
  }

  status<T>(): Promise<T> {
    return this.#json('GET', '/v1/status');
  }

  openSession(wish: SessionWish): Promise<SessionReport> {
    return this.#json('POST', '/v1/sessions', wish);
  }

  listSessions<T>(): Promise<T> {
    return this.#json('GET', '/v1/sessions');
  }

  /**
   * From now on the session is used from within alone: the PID namespace or control group of that process, or the
   * process itself and what is below it. Once for each session.
   */
  bindSession(id: string, wish: BindWish): Promise<BindingReport> {
    return this.#json('POST', `/v1/sessions/${encodeURIComponent(id)}/bind`, wish);
  }

  endSession(id: string): Promise<void> {
    return this.#json('DELETE', `/v1/sessions/${encodeURIComponent(id)}`);
  }

  async secretsIn(env: Readonly<Record<string, string>>): Promise<readonly string[]> {
    return (await this.#json<{ remove: string[] }>('POST', '/v1/environment', { env })).remove;
  }

  /** Has the texts ({@link frame}s) compared with every secret. The answer names texts by their number, never a value. */
  async lookAt(session: string, frames: Readable): Promise<LookReport> {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const path = `/v1/sessions/${encodeURIComponent(session)}/look`;
      const sent = request({ socketPath: this.#socket, agent: false, method: 'POST', path });
      const failed = (error: Error): void =>
        reject(
          error instanceof Failure
            ? error
            : new Failure('daemon', `the daemon broke off: ${error.message}`, { cause: error }),
        );
      sent.on('response', resolve);
      pipeline(frames, sent, (error) => {
        if (error) failed(error);
      });
    });
    const answer = await text(response);
    // What was not read is not wanted any more: it refused.
    frames.destroy();
    if (response.statusCode !== 200) throw failureOf(response.statusCode, answer);
    return JSON.parse(answer) as LookReport;
  }

  /** Records and signs that this session's agent starts clean. */
  stateCleared(
    session: string,
    facts: ClearanceFacts,
  ): Promise<{ readonly key: string; readonly seq: number; readonly hash: string }> {
    return this.#json('POST', `/v1/sessions/${encodeURIComponent(session)}/cleared`, facts);
  }

  /** Records that this session's agent is not started. The places come back as they may be shown. */
  async stateRefused(session: string, exposed: readonly NamedExposure[]): Promise<readonly NamedExposure[]> {
    const path = `/v1/sessions/${encodeURIComponent(session)}/refused`;
    return (await this.#json<{ exposed: NamedExposure[] }>('POST', path, { exposed })).exposed;
  }

  auditHead(): Promise<{ seq: number; hash: string }> {
    return this.#json('GET', '/v1/audit/head');
  }

  shutdown(): Promise<void> {
    return this.#json('POST', '/v1/shutdown');
  }

  /** Where nobody answers, or too late, there is nothing to wait for: the session ends with its lease. */
  async #endLease(id: string): Promise<void> {
    const path = `/v1/leases/${encodeURIComponent(id)}`;
    const answer = this.#send('DELETE', path, undefined, AbortSignal.timeout(limits.leaseEndMs));
    await answer.then(text).catch(() => {});
  }

  /** A session that lives while this process keeps its connection, and ends with it however it ends. */
  async lease(wish: Omit<SessionWish, 'lease'>): Promise<Lease> {
    const response = await this.#send('POST', '/v1/sessions', { ...wish, lease: true });
    if (response.statusCode !== 200) throw failureOf(response.statusCode, await text(response));
    const lost = new Promise<void>((resolve) => response.on('close', resolve));
    const report = await new Promise<SessionReport>((resolve, reject) => {
      let line = '';
      response.on('error', () => {});
      response.on('close', () => reject(new Failure('daemon', 'the daemon ended')));
      response.on('data', (chunk: Buffer) => {
        line += chunk.toString();
        if (line.endsWith('\n')) resolve(JSON.parse(line) as SessionReport);
      });
    });
    const release = async (): Promise<void> => {
      try {
        await this.#endLease(report.id);
      } finally {
        response.destroy();
      }
    };
    return { report, release, lost };
  }
}
