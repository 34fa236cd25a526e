/**
 * MCP conversations with a target. Both kinds have `request(method, params, onNotification?)` → result, and `close()`.
 * All use the same JSON-RPC ids, so that a proxy that mixed its clients up would be caught by the echo check.
 */
import { HttpConnection } from './http.mjs';

const VERSION = '2025-11-25';
const INITIALIZE = {
  protocolVersion: VERSION,
  capabilities: {},
  clientInfo: { name: 'ostiary-bench', version: '1.0.0' },
};

function resultOf(message) {
  if (message.error !== undefined) throw new Error(`JSON-RPC error: ${message.error.message}`);
  return message.result;
}

/** The answer to `id`, which servers write near one of the ends. */
function checkedBytes(bytes, id) {
  const ends = bytes.toString('latin1', 0, 64) + bytes.toString('latin1', Math.max(0, bytes.length - 64));
  if (!new RegExp(`"id":${id}\\b`).test(ends)) throw new Error('the answer of another call');
  return bytes;
}

/** One request at a time over one keep-alive connection. */
export class HttpSession {
  #connection;
  #path;
  #headers;
  #head;
  #nextId = 1;

  static async open({ port, path = '/mcp', token }) {
    const session = new HttpSession();
    session.#connection = await HttpConnection.open(port);
    session.#path = path;
    session.#headers =
      `Host: 127.0.0.1:${port}\r\nContent-Type: application/json\r\n` +
      `Accept: application/json, text/event-stream\r\n${token ? `Authorization: Bearer ${token}\r\n` : ''}`;
    session.#head = `POST ${path} HTTP/1.1\r\n${session.#headers}`;
    const { headers } = await session.#send('initialize', INITIALIZE);
    session.#headers += `MCP-Protocol-Version: ${VERSION}\r\n`;
    if (headers['mcp-session-id']) session.#headers += `Mcp-Session-Id: ${headers['mcp-session-id']}\r\n`;
    session.#head = `POST ${path} HTTP/1.1\r\n${session.#headers}`;
    const body = '{"jsonrpc":"2.0","method":"notifications/initialized"}';
    const { status } = await session.#connection.request(session.#head, body);
    if (status !== 202) throw new Error(`HTTP ${status} to notifications/initialized`);
    return session;
  }

  async #send(method, params, onNotification) {
    const id = this.#nextId++;
    const body = JSON.stringify({ jsonrpc: '2.0', id, method, params });
    const answer = await this.#connection.request(this.#head, body);
    const text = answer.body.toString('utf8');
    if (answer.status !== 200) throw new Error(`HTTP ${answer.status}: ${text.slice(0, 200)}`);
    const streamed = answer.headers['content-type']?.startsWith('text/event-stream');
    const messages = streamed ? eventMessages(text) : [JSON.parse(text)];
    const response = messages.find((message) => message.id === id && message.method === undefined);
    if (response === undefined) throw new Error('no response in the answer');
    for (const message of messages) if (message !== response) onNotification?.(message);
    return { ...answer, result: resultOf(response) };
  }

  async request(method, params, onNotification) {
    return (await this.#send(method, params, onNotification)).result;
  }

  /** The bytes of a JSON answer, unparsed: for large ones parsing would cost more than most proxies. */
  async requestBytes(method, params) {
    const body = JSON.stringify({ jsonrpc: '2.0', id: this.#nextId++, method, params });
    const answer = await this.#connection.request(this.#head, body);
    const streamed = answer.headers['content-type']?.startsWith('text/event-stream');
    const start = streamed ? answer.body.indexOf('data:') + 5 : 0;
    return checkedBytes(answer.body.subarray(start), this.#nextId - 1);
  }

  /** Says goodbye, as the specification asks clients to do. */
  async close() {
    await this.#connection.request(`DELETE ${this.#path} HTTP/1.1\r\n${this.#headers}`, '').catch(() => {});
    this.#connection.close();
  }
}

function eventMessages(text) {
  const messages = [];
  for (const line of text.split('\n')) {
    const data = line.startsWith('data:') ? line.slice(5).trim() : '';
    if (data !== '') messages.push(JSON.parse(data));
  }
  return messages;
}

/** Newline JSON over a child's pipes or a socket; requests may overlap. */
export class LineSession {
  #writable;
  #pending = new Map();
  #parts = [];
  #nextId = 1;
  #onClose;
  #failed;
  /** The next line answers it, and is not parsed. */
  #raw;

  /** `onClose` ends whatever the streams belong to. */
  static async open(readable, writable, onClose) {
    const session = new LineSession();
    session.#writable = writable;
    session.#onClose = onClose;
    readable.on('data', (chunk) => session.#take(chunk));
    readable.on('close', () => session.#fail(new Error('stream closed')));
    writable.on('error', (error) => session.#fail(error));
    await session.request('initialize', INITIALIZE);
    writable.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n');
    return session;
  }

  request(method, params, onNotification) {
    if (this.#failed) return Promise.reject(this.#failed);
    const id = this.#nextId++;
    this.#writable.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`);
    return new Promise((resolve, reject) => this.#pending.set(id, { resolve, reject, onNotification }));
  }

  /** As for HTTP. */
  requestBytes(method, params) {
    if (this.#failed) return Promise.reject(this.#failed);
    const id = this.#nextId++;
    this.#writable.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`);
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#raw = { id, resolve, reject };
    });
  }

  async close() {
    await this.#onClose();
  }

  #take(chunk) {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      this.#parts.push(chunk.subarray(start, end));
      this.#line(this.#parts.length === 1 ? this.#parts[0] : Buffer.concat(this.#parts));
      this.#parts = [];
      start = end + 1;
    }
    if (start < chunk.length) this.#parts.push(chunk.subarray(start));
  }

  #line(bytes) {
    const raw = this.#raw;
    if (raw === undefined) return this.#deliver(JSON.parse(bytes));
    this.#raw = undefined;
    this.#pending.delete(raw.id);
    try {
      raw.resolve(checkedBytes(bytes, raw.id));
    } catch (error) {
      raw.reject(error);
    }
  }

  #deliver(message) {
    if (message.method !== undefined) {
      for (const { onNotification } of this.#pending.values()) onNotification?.(message);
      return;
    }
    const call = this.#pending.get(message.id);
    this.#pending.delete(message.id);
    try {
      call?.resolve(resultOf(message));
    } catch (error) {
      call?.reject(error);
    }
  }

  #fail(error) {
    this.#failed = error;
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}
