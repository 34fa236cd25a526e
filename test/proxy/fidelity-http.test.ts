/** The rows of `fidelity-table.ts` before an upstream that is reached over Streamable HTTP. */
import { after, before, describe } from 'node:test';
import { bearer, portOf, socketOf, startDaemon, type TestDaemon } from '../support/daemon.ts';
import { type Endpoint, httpPeer, openLines, type Peer } from '../support/wire.ts';
import { HttpServerPeer } from '../support/wire-http.ts';
import { everyRow } from './fidelity-play.ts';
import type { Row } from './fidelity-table.ts';

function notHere({ name, steps, multiline }: Row): string | undefined {
  if (name === 'a server that speaks before it has answered initialize, and right after')
    return 'what follows an answer has no stream';
  if (name === 'a cancel with unknown fields, crossed by the answer')
    return 'the stream of what was cancelled is closed';
  if (multiline) return 'a line break in an event is another line of it';
  return steps.length === 0 ? 'nothing is said' : undefined;
}

describe('byte for byte, before an HTTP upstream', () => {
  let daemon: TestDaemon;
  const servers = { lines: new HttpServerPeer(), http: new HttpServerPeer() };
  const ends: (() => Promise<void>)[] = [];

  before(async () => {
    const upstreams: Record<string, object> = {};
    for (const [name, server] of Object.entries(servers))
      upstreams[name] = { url: await server.listen(), era: 'legacy' };
    daemon = await startDaemon({ after: (end) => void ends.push(end) }, { config: { upstreams } });
  });
  after(async () => {
    for (const server of Object.values(servers)) server.end();
    for (const end of ends) await end();
  });

  /** Answers that are written together are so on streams of their own, so their order is any. */
  const endpoint = (name: keyof typeof servers, connect: () => Promise<Peer>): Endpoint => ({
    keepsIds: true,
    isLines: false,
    open: async () => ({ server: servers[name], client: await connect() }),
  });

  describe('lines', () => {
    const connect = async (): Promise<Peer> => openLines(socketOf(await daemon.newSession()), '/mcp/lines');
    everyRow(() => endpoint('lines', connect), {
      skip: (row) => (row.multiline ? 'a line has no line breaks' : notHere(row)),
    });
  });

  describe('HTTP', () => {
    const connect = async (): Promise<Peer> =>
      httpPeer(portOf(daemon), '/mcp/http', bearer(await daemon.newSession({ token: true })));
    everyRow(() => endpoint('http', connect), { skip: notHere });
  });
});
