/**
 * The floor F: the least that a Streamable HTTP front end for one stdio server can do. Bare node:http, one child, ids
 * and progress tokens replaced in the bytes. No token, no peer, no policy, no redaction, no audit, no handshake with a
 * server that was restarted: nobody should run this, and nothing in Node should be much faster.
 *
 *     node floor.mjs PORT COMMAND [ARG…]
 */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

const [port, command, ...args] = process.argv.slice(2);
/** The server; another one when it has died. */
let child;

/** Our id → the waiting response, with the client's own id and progress token. */
const pending = new Map();
let nextId = 1;

const ID = /"id":("[^"]*"|\d+)/;
const TOKEN = /"progressToken":("[^"]*"|\d+)/;
const RESPONSE = /^\{"jsonrpc":"2\.0","id":(\d+)/;

function deliver(line) {
  const head = line.toString('latin1', 0, 200);
  const id = RESPONSE.exec(head);
  if (id === null) {
    notify(line, TOKEN.exec(head));
    return;
  }
  const { response, clientId, streaming } = pending.get(+id[1]);
  pending.delete(+id[1]);
  const start = Buffer.from(`{"jsonrpc":"2.0","id":${clientId}`);
  const end = line.subarray(id[0].length);
  if (streaming) {
    response.write('data: ');
    response.write(start);
    response.write(end);
    response.end('\n\n');
    return;
  }
  response.writeHead(200, {
    'Content-Type': 'application/json',
    'Content-Length': start.length + end.length,
    'Mcp-Session-Id': response.session,
  });
  response.write(start);
  response.end(end);
}

function notify(line, token) {
  const call = token && pending.get(+token[1]);
  if (!call) return;
  const { response } = call;
  if (!call.streaming) {
    call.streaming = true;
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Mcp-Session-Id': response.session });
    response.cork();
    setImmediate(() => response.uncork());
  }
  response.write(`data: ${line.toString('utf8').replace(token[0], `"progressToken":${call.token}`)}\n\n`);
}

function launch() {
  child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  let parts = [];
  child.stdout.on('data', (chunk) => {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      const piece = chunk.subarray(start, end);
      deliver(parts.length === 0 ? piece : Buffer.concat([...parts, piece]));
      parts = [];
      start = end + 1;
    }
    if (start < chunk.length) parts.push(chunk.subarray(start));
  });
  child.stdin.on('error', () => {});
  child.on('exit', () => {
    for (const { response } of pending.values()) response.writeHead(502, { 'Content-Length': 0 }).end();
    pending.clear();
    launch();
  });
}
launch();

function forward(body, response) {
  const clientId = ID.exec(body)?.[1];
  if (clientId === undefined) {
    child.stdin.write(`${body}\n`);
    response.writeHead(202).end();
    return;
  }
  const id = nextId++;
  const token = TOKEN.exec(body)?.[1];
  pending.set(id, { response, clientId, token, streaming: false });
  let line = body.replace(ID, `"id":${id}`);
  if (token !== undefined) line = line.replace(TOKEN, `"progressToken":${id}`);
  child.stdin.write(`${line}\n`);
}

const server = createServer((request, response) => {
  if (request.method !== 'POST') {
    response.writeHead(request.method === 'DELETE' ? 200 : 405).end();
    return;
  }
  response.session = request.headers['mcp-session-id'] ?? randomUUID();
  let body = '';
  request.setEncoding('utf8');
  request.on('data', (chunk) => {
    body += chunk;
  });
  request.on('end', () => forward(body, response));
});
server.keepAliveTimeout = 75_000;
server.listen(Number(port), '127.0.0.1');

process.on('SIGTERM', () => process.exit(0));
