/**
 * Stands between the suite, which knows no bearer tokens, and an endpoint that demands one. Everything else passes as it
 * is: methods, headers in their spelling and order, bodies as they stream, and the end of either side.
 */
import { once } from 'node:events';
import { Agent, createServer, request } from 'node:http';

function* pairs(rawHeaders) {
  for (let i = 0; i < rawHeaders.length; i += 2) yield [rawHeaders[i], rawHeaders[i + 1]];
}

/** Forwards `http://127.0.0.1:PORT/mcp` to `url`: {url, stop()}. */
export async function startForwarder({ url, token }) {
  const target = new URL(url);
  const agent = new Agent({ keepAlive: true });
  let port;

  /** Whoever names us means the endpoint; a foreign name stays foreign, for the endpoint to refuse. */
  const mapped = (value) =>
    [`127.0.0.1:${port}`, `localhost:${port}`].includes(value.replace(/^http:\/\//, ''))
      ? value.replace(/\d+$/, target.port)
      : value;

  function headersOf({ rawHeaders }) {
    const headers = [];
    for (const [name, value] of pairs(rawHeaders)) {
      const lower = name.toLowerCase();
      // The agent decides about its own connection.
      if (lower === 'connection') continue;
      headers.push(name, lower === 'host' || lower === 'origin' ? mapped(value) : value);
    }
    headers.push('Authorization', `Bearer ${token}`);
    return headers;
  }

  const server = createServer((incoming, outgoing) => {
    const forwarded = request({
      agent,
      host: target.hostname,
      port: target.port,
      method: incoming.method,
      path: incoming.url.replace(/^\/mcp(?=$|[?])/, target.pathname),
      headers: headersOf(incoming),
      setHost: false,
    });
    forwarded.on('response', (answer) => {
      outgoing.sendDate = false;
      outgoing.writeHead(answer.statusCode, answer.statusMessage, answer.rawHeaders);
      // The head of a stream is news, even if nothing follows yet.
      outgoing.flushHeaders();
      answer.on('error', () => outgoing.destroy()).pipe(outgoing);
    });
    // An endpoint that refuses early may hang up on the rest of the body; its answer counts.
    forwarded.on('error', () => {
      if (!outgoing.writableEnded) outgoing.destroy();
    });
    outgoing.on('close', () => {
      if (!outgoing.writableFinished) forwarded.destroy();
    });
    incoming.pipe(forwarded);
  });
  // The suite may hold streams open for as long as it likes.
  server.requestTimeout = 0;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  port = server.address().port;
  return {
    url: `http://127.0.0.1:${port}/mcp`,
    async stop() {
      server.close();
      server.closeAllConnections();
      agent.destroy();
    },
  };
}
