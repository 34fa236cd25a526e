/** No proxy: every client starts its own server. Throughput rows pipeline the calls over one child. */
import { start, stop, UPSTREAM } from '../lib/processes.mjs';
import { LineSession } from '../lib/sessions.mjs';

async function open(children) {
  const child = start(process.execPath, [UPSTREAM], { stdin: 'pipe' });
  children.add(child);
  return LineSession.open(child.stdout, child.stdin, async () => {
    children.delete(child);
    await stop(child);
  });
}

export default {
  name: 'direct',
  pipelined: true,
  async start() {
    const children = new Set();
    return {
      pids: () => [...children].map(({ pid }) => pid),
      open: () => open(children),
      stop: async () => void (await Promise.all([...children].map(stop))),
    };
  },
};
