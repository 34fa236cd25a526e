import { peer } from '../lib/peer.mjs';
import { UPSTREAM } from '../lib/processes.mjs';

/** Without `--host` it listens on every interface. */
export default peer({
  name: 'mcp-proxy',
  script: 'mcp-proxy/dist/bin/mcp-proxy.mjs',
  args: (port) => [
    ...['--host', '127.0.0.1', '--port', String(port), '--server', 'stream'],
    ...['--', process.execPath, UPSTREAM],
  ],
});
