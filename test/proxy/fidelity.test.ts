/**
 * What a relay must not change: every message of `fidelity-table.ts` reaches the other end byte for byte, over HTTP and
 * over lines. Another kind of endpoint joins by an `Endpoint` of its own.
 */
import { join } from 'node:path';
import { after, before, describe } from 'node:test';
import { bearer, makeHome, portOf, socketOf, startDaemon, type TestDaemon } from '../support/daemon.ts';
import { fixtureServer } from '../support/servers.ts';
import { type Endpoint, httpPeer, openLines, type Peer, PipeServer } from '../support/wire.ts';
import { everyRow } from './fidelity-play.ts';

describe('byte for byte, one upstream per conversation', () => {
  let daemon: TestDaemon;
  let pipe: PipeServer;
  const ends: (() => Promise<void>)[] = [];

  before(async () => {
    const home = makeHome();
    pipe = new PipeServer(join(home.directory, 'pipe.sock'));
    await pipe.listen();
    const config = { upstreams: { pipe: fixtureServer('pipe', pipe.path) } };
    daemon = await startDaemon({ after: (end) => void ends.push(end) }, { home, config });
  });
  after(async () => {
    pipe.close();
    for (const end of ends) await end();
  });

  /** Opens the client's end; the server's is the next process that is started. */
  const endpoint = (isLines: boolean, connect: () => Promise<Peer>): Endpoint => ({
    keepsIds: true,
    isLines,
    open: async () => ({ server: pipe.upcoming(), client: await connect() }),
  });

  describe('lines', () => {
    everyRow(() => endpoint(true, async () => openLines(socketOf(await daemon.newSession()), '/mcp/pipe')));
  });

  describe('HTTP', () => {
    everyRow(() =>
      endpoint(false, async () =>
        httpPeer(portOf(daemon), '/mcp/pipe', bearer(await daemon.newSession({ token: true }))),
      ),
    );
  });
});
