/** Targets that are one command which serves Streamable HTTP on a port. */
import { freePort, listening, start, stop } from './processes.mjs';
import { HttpSession } from './sessions.mjs';

/** `argv(port)` is the command line; `missing()` says why it cannot run here, if so. */
export function httpTarget({ name, argv, missing }) {
  return {
    name,
    missing,
    async start() {
      const port = await freePort();
      const [command, ...args] = argv(port);
      const child = start(command, args);
      child.stdout.resume();
      await listening(port, child);
      return { pids: () => [child.pid], open: () => HttpSession.open({ port }), stop: () => stop(child) };
    },
  };
}
