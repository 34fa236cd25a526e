#!/usr/bin/env node
/**
 * The bin entry: argv → the program that has the command. What agents and their users wait for is in a file of its own, and
 * CommonJS: Node takes ten milliseconds to get ready for modules, and one for each file.
 */
const [command, ...args] = process.argv.slice(2);

// The help of connect and headers is written where the help of all is.
if ((command === 'connect' || command === 'headers') && !args.includes('--help'))
  require('./cli/entry/shim.cjs');
else if (command === 'run') {
  const { startEarly } =
    require('./cli/entry/early-launcher.cjs') as typeof import('./cli/entry/early-launcher.ts');
  const launcher = startEarly(args);
  const { run } = require('./cli/entry/run.cjs') as typeof import('./cli/entry/run.ts');
  run(launcher);
} else {
  const others = './cli/entry/commands.js';
  void import(others);
}
