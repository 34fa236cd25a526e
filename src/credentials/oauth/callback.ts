/**
 * Where the browser comes back to at the end of a login (RFC 8252, section 7.3): a listener on 127.0.0.1 for one login and
 * one answer. Whatever else arrives (other pages, other programs, a callback of another login) is turned away and changes
 * nothing (E4).
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Failure } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { type Page, pageHeaders, renderPage } from '../../page.ts';

export interface CallbackWish<T> {
  /** Of the authorization request; unguessable. */
  readonly state: string;
  /** Checks and redeems what came back. Called once at most; what it throws ends the login. */
  readonly finish: (parameters: URLSearchParams) => Promise<T>;
  /** What the browser shows then. */
  readonly page: (result: T) => Page;
  readonly signal?: AbortSignal;
}

const PATH = '/callback';

const strange: Page = {
  status: 400,
  title: 'Not the login that is waiting here',
  text: ['Go back to the terminal and use the address that it shows.'],
};

const over: Page = { status: 410, title: 'This login is over', text: ['You can close this page.'] };

const failed: Page = {
  status: 400,
  title: 'Not connected',
  text: ['The login did not work. The terminal says why.', 'You can close this page.'],
};

function sameText(one: string, other: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(one), digest(other));
}

export class CallbackListener {
  /** To be sent with the authorization request, and with its code. */
  readonly redirectUri: string;
  readonly #server: Server;
  readonly #host: string;
  #requests = 0;
  #take: ((parameters: URLSearchParams, show: (page: Page) => Promise<void>) => void) | null = null;
  #state: string | null = null;

  private constructor(server: Server) {
    this.#server = server;
    this.#host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    this.redirectUri = `http://${this.#host}${PATH}`;
    server.on('request', (request, response) => this.#answer(request, response));
  }

  /**
   * @param port 0: any free one
   * @throws {Failure} when somebody else listens there: what they would get is ours
   */
  static open(port: number): Promise<CallbackListener> {
    const server = createServer({
      maxHeaderSize: limits.headerBytes,
      headersTimeout: limits.headersTimeoutMs,
      requestTimeout: limits.headersTimeoutMs,
    });
    server.maxConnections = limits.callbackRequests;
    return new Promise((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => {
        const what =
          error.code === 'EADDRINUSE' ? 'is taken by another program' : `cannot be used: ${error.code}`;
        reject(
          new Failure('failure', `port ${port} of 127.0.0.1 ${what}`, {
            hint: 'end that program, or configure another callback_port; without one any free port is taken',
          }),
        );
      });
      server.listen({ host: '127.0.0.1', port, exclusive: true }, () =>
        resolve(new CallbackListener(server)),
      );
    });
  }

  /**
   * Waits for the one answer.
   * @throws {Failure} when nobody finished the login in time, or it was given up; and whatever `finish` throws
   */
  wait<T>({ state, finish, page, signal }: CallbackWish<T>): Promise<T> {
    this.#state = state;
    return new Promise<T>((resolve, reject) => {
      const stop = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
      };
      const abort = (): void => {
        stop();
        this.#take = null;
        reject(new Failure('failure', 'the login was given up'));
      };
      const timer = setTimeout(() => {
        stop();
        this.#take = null;
        const minutes = limits.loginMs / 60_000;
        reject(new Failure('failure', `nobody finished the login within ${minutes} minutes`));
      }, limits.loginMs);
      signal?.addEventListener('abort', abort);
      this.#take = (parameters, show) => {
        this.#take = null;
        stop();
        finish(parameters).then(
          async (result) => {
            await show(page(result));
            resolve(result);
          },
          async (error: unknown) => {
            // Its words may be the server's, or an attacker's: the terminal has them.
            await show(failed);
            reject(error);
          },
        );
      };
    });
  }

  close(): void {
    this.#take = null;
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const show = (page: Page): Promise<void> => {
      const body = renderPage(page);
      response.writeHead(page.status, { ...pageHeaders, 'content-length': Buffer.byteLength(body) });
      return new Promise((resolve) => {
        response.on('close', resolve);
        response.end(body);
      });
    };
    if (++this.#requests > limits.callbackRequests) {
      request.socket.destroy();
      return;
    }
    const base = `http://${this.#host}`;
    const url = URL.canParse(request.url ?? '', base) ? new URL(request.url ?? '', base) : null;
    // A name that resolves to us is not ours: a web page could have chosen it (DNS rebinding).
    if (request.headers.host !== this.#host || url === null || url.host !== this.#host) void show(strange);
    else if (url.pathname !== PATH) void show({ ...strange, status: 404 });
    else if (request.method !== 'GET') void show({ ...strange, status: 405 });
    else if ((request.url?.length ?? 0) > limits.callbackUrlBytes) void show({ ...strange, status: 414 });
    else if (!this.#isOurs(url.searchParams)) void show(strange);
    else if (this.#take === null) void show(over);
    else this.#take(url.searchParams, show);
  }

  /** `state`, once, and the one that this login sent. */
  #isOurs(parameters: URLSearchParams): boolean {
    const [state, ...more] = parameters.getAll('state');
    return state !== undefined && more.length === 0 && this.#state !== null && sameText(state, this.#state);
  }
}
