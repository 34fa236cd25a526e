import { peer } from '../lib/peer.mjs';
import { UPSTREAM } from '../lib/processes.mjs';

/** `--stateful`: its default starts a server per request. It has no option for the interface: it listens on all. */
export default peer({
  name: 'supergateway',
  script: 'supergateway/dist/index.js',
  args: (port) => [
    ...['--stdio', `"${process.execPath}" "${UPSTREAM}"`],
    ...['--outputTransport', 'streamableHttp', '--stateful', '--port', String(port), '--logLevel', 'none'],
  ],
});
