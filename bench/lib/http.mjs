/** HTTP/1.1 keep-alive client on a raw socket, one request in flight: cheaper than the servers it measures. */
import { once } from 'node:events';
import { connect } from 'node:net';

const CRLF = Buffer.from('\r\n');
const HEAD_END = Buffer.from('\r\n\r\n');

export class HttpConnection {
  #port;
  #socket;
  #waiting;
  #pending = [];
  #response;

  static async open(port) {
    const connection = new HttpConnection();
    connection.#port = port;
    await connection.#connect();
    return connection;
  }

  async #connect() {
    const socket = connect({ port: this.#port, host: '127.0.0.1', noDelay: true });
    this.#socket = socket;
    this.#pending = [];
    this.#response = undefined;
    socket.on('data', (chunk) => this.#take(chunk));
    socket.on('close', () => this.#waiting?.reject(new Error('connection closed in mid-request')));
    await once(socket, 'connect');
    socket.on('error', () => {});
  }

  /**
   * `head` without Content-Length and the empty line; resolves with {status, headers, body}. Connects again when the
   * server has closed the idle connection: some do after Node's five seconds.
   */
  async request(head, body) {
    if (this.#socket.destroyed || this.#socket.readableEnded) await this.#connect();
    this.#socket.write(`${head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  close() {
    this.#waiting = undefined;
    this.#socket.destroy();
  }

  #take(chunk) {
    let bytes = chunk;
    if (this.#response === undefined) {
      this.#pending.push(chunk);
      bytes = this.#pending.length === 1 ? chunk : Buffer.concat(this.#pending);
      const end = bytes.indexOf(HEAD_END);
      if (end < 0) return;
      this.#pending = [];
      this.#response = parseHead(bytes.toString('latin1', 0, end));
      bytes = bytes.subarray(end + 4);
    }
    const response = this.#response;
    if (!(response.chunked ? takeChunked(response, bytes) : takeCounted(response, bytes))) return;
    this.#response = undefined;
    const { resolve } = this.#waiting;
    this.#waiting = undefined;
    const { status, headers, parts } = response;
    resolve({ status, headers, body: parts.length === 1 ? parts[0] : Buffer.concat(parts) });
  }
}

function parseHead(text) {
  const headers = {};
  for (const line of text.split('\r\n').slice(1)) {
    const colon = line.indexOf(':');
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  const chunked = headers['transfer-encoding'] === 'chunked';
  return {
    status: +text.slice(9, 12),
    headers,
    parts: [],
    chunked,
    left: chunked ? 0 : +(headers['content-length'] ?? 0),
    rest: undefined,
    last: false,
  };
}

/** True when the body is complete. */
function takeCounted(response, bytes) {
  if (bytes.length > 0) response.parts.push(bytes);
  response.left -= bytes.length;
  return response.left <= 0;
}

/** `left` counts what is missing of the current chunk and its CRLF; `rest` is an incomplete size line. */
function takeChunked(response, chunk) {
  let bytes = response.rest ? Buffer.concat([response.rest, chunk]) : chunk;
  response.rest = undefined;
  while (bytes.length > 0) {
    if (response.left > 0) {
      const data = bytes.subarray(0, Math.max(0, Math.min(response.left - 2, bytes.length)));
      if (data.length > 0) response.parts.push(data);
      const used = Math.min(response.left, bytes.length);
      response.left -= used;
      bytes = bytes.subarray(used);
      if (response.left === 0 && response.last) return true;
      continue;
    }
    const end = bytes.indexOf(CRLF);
    if (end < 0) {
      response.rest = bytes;
      return false;
    }
    const size = Number.parseInt(bytes.toString('latin1', 0, end), 16);
    response.last = size === 0;
    response.left = size + 2;
    bytes = bytes.subarray(end + 2);
  }
  return false;
}
