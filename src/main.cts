#!/usr/bin/env node
/**
 * The bin entry: argv → the program that has the command. What agents and their users wait for is in a file of its own, and
 * CommonJS: Node takes ten milliseconds to get ready for modules, and one for each file.
 */
const alone: ReadonlyMap<string | undefined, string> = new Map([
  ['connect', './cli/entry/shim.cjs'],
  ['headers', './cli/entry/shim.cjs'],
  ['run', './cli/entry/run.cjs'],
]);
const others = './cli/entry/commands.js';

const file = alone.get(process.argv[2]);
// The help of these two is written where the help of all is.
if (file === undefined || (file.endsWith('shim.cjs') && process.argv.includes('--help'))) void import(others);
else require(file);
