/** The clients of the soak test. `call(id, bytes)` sends one request and resolves with the bytes of its answer. */
import { Agent, request } from 'node:http';

const VERSION = '2025-11-25';
const INITIALIZE = Buffer.from(
  JSON.stringify({
    jsonrpc: '2.0',
    id: 'initialize',
    method: 'initialize',
    params: { protocolVersion: VERSION, capabilities: {}, clientInfo: { name: 'soak', version: '1' } },
  }),
);
const INITIALIZED = Buffer.from('{"jsonrpc":"2.0","method":"notifications/initialized"}');

/** What never happened to a request that has to end in an answer. */
export class Lost extends Error {}

export class HttpClient {
  /** A connection of its own, as a program of its own has it. */
  #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  #port;
  #path;
  #headers;

  static async open(session, path) {
    const client = new HttpClient();
    client.#port = Number(new URL(session.url).port);
    client.#path = path;
    client.#headers = {
      Authorization: `Bearer ${session.token}`,
      'Content-Type': 'application/json',
      Accept: 'application/json, text/event-stream',
    };
    const { headers, body } = await client.#send('POST', INITIALIZE);
    if (headers['mcp-session-id'] === undefined) throw new Error(`initialize failed: ${body}`);
    Object.assign(client.#headers, {
      'Mcp-Session-Id': headers['mcp-session-id'],
      'MCP-Protocol-Version': VERSION,
    });
    await client.#send('POST', INITIALIZED);
    return client;
  }

  #send(method, body) {
    return new Promise((resolve, reject) => {
      const headers = { ...this.#headers, 'Content-Length': body.length };
      const sent = request({
        host: '127.0.0.1',
        port: this.#port,
        agent: this.#agent,
        method,
        path: this.#path,
        headers,
      });
      const lose = (error) => reject(new Lost(`HTTP: ${error.code ?? error.message}`));
      sent.on('error', lose);
      sent.on('response', (response) => {
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('error', lose);
        response.on('end', () =>
          resolve({ ...response, headers: response.headers, body: Buffer.concat(chunks) }),
        );
      });
      sent.end(body);
    });
  }

  async call(_id, bytes) {
    return (await this.#send('POST', bytes)).body;
  }

  async close() {
    await this.#send('DELETE', Buffer.alloc(0)).catch(() => {});
    this.#agent.destroy();
  }
}

export class LineClient {
  #socket;
  #waiting = new Map();
  #parts = [];
  /** Answers that nobody waited for. */
  strays = 0;

  static async open(session, path) {
    const client = new LineClient();
    client.#socket = await new Promise((resolve, reject) => {
      const headers = { Connection: 'Upgrade', Upgrade: 'mcp-stdio' };
      request({ socketPath: session.socket, path, headers })
        .on('error', reject)
        .on('response', ({ statusCode }) => reject(new Error(`HTTP ${statusCode} to the upgrade`)))
        .on('upgrade', (_response, socket, head) => {
          socket.unshift(head);
          resolve(socket);
        })
        .end();
    });
    client.#socket.on('data', (chunk) => client.#take(chunk));
    client.#socket.on('error', () => {});
    client.#socket.on('close', () => {
      for (const { reject } of client.#waiting.values()) reject(new Lost('the line connection was closed'));
    });
    const answer = JSON.parse(await client.call('initialize', INITIALIZE));
    if (answer.result === undefined) throw new Error(`initialize failed: ${JSON.stringify(answer)}`);
    client.#socket.write(Buffer.concat([INITIALIZED, Buffer.from('\n')]));
    return client;
  }

  call(id, bytes) {
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#socket.write(bytes);
      this.#socket.write('\n');
    });
  }

  #take(chunk) {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      this.#parts.push(chunk.subarray(start, end));
      const line = Buffer.concat(this.#parts);
      this.#parts = [];
      start = end + 1;
      // Our ids come early; the answer is parsed where its text is known.
      const id = /"id":"([^"]*)"/.exec(line.toString('latin1', 0, 200))?.[1] ?? JSON.parse(line).id;
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (waiting === undefined) this.strays++;
      else waiting.resolve(line);
    }
    if (start < chunk.length) this.#parts.push(chunk.subarray(start));
  }

  async close() {
    this.#socket.destroy();
  }
}
