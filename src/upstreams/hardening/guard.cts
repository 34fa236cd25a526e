/**
 * Loaded before anything else by Node upstreams that do not know `--disable-sigusr1`: SIGUSR1 opens the inspector of any
 * Node process, through which everybody on this machine can run code in it, unless it listens to the signal (A6).
 */
process.on('SIGUSR1', () => {});

/** Opened by a signal before this line. Whoever wants an inspector says so in the arguments. */
function closeInspector(): void {
  if (process.execArgv.some((argument) => /^--inspect(?:-brk|-wait)?(?:=|$)/.test(argument))) return;
  const inspector = require('node:inspector') as typeof import('node:inspector');
  if (inspector.url() !== undefined) inspector.close();
}

closeInspector();
setImmediate(closeInspector);
