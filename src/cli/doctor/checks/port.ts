/** Whether the resident daemon can have the port that the configuration names. */
import { createServer } from 'node:net';
import { portHolder } from '../../../os/index.ts';
import type { Check } from '../check.ts';
import { type Context, configOf } from '../context.ts';
import { type Finding, fine, problem } from '../finding.ts';

/** The error code of listening there; `null` when it can be done. */
function tryPort(port: number): Promise<string | null> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'unknown error'));
    server.listen({ host: '127.0.0.1', port, exclusive: true }, () => server.close(() => resolve(null)));
  });
}

function holder(port: number): string {
  const found = portHolder(port);
  if (found === null) return 'somebody who does not show';
  const { uid, pid, name } = found;
  return pid === null ? `a process of uid ${uid}` : `pid ${pid} (${name}), of uid ${uid}`;
}

async function judge(context: Context): Promise<Finding[]> {
  const port = configOf(context)?.listen.port ?? 0;
  if (port === 0) return [fine('port.ok', 'any free one')];
  const resident = await context.resident();
  if (resident.state === 'running' && resident.status.url?.endsWith(`:${port}`))
    return [fine('port.ok', `${port}: the daemon has it`)];
  const error = await tryPort(port);
  if (error === null) return [fine('port.ok', `${port}: free`)];
  const why = error === 'EADDRINUSE' ? `taken by ${holder(port)}` : `cannot be had: ${error}`;
  return [
    problem('port.taken', `${port}: ${why}`, 'set listen.port to another one, or to 0 for any free one'),
  ];
}

export const port: Check = { group: 'daemon', title: 'the port', run: judge };
