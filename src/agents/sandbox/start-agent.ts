/** Becomes the program of its arguments, with no signal ignored: Node has made all but two default by its own start. */
import { disposeOf, replaceProcess } from '../../os/exec.ts';
import { ignoredByNode } from './starter.ts';

const [file = '', ...args] = process.argv.slice(2);
for (const signal of ignoredByNode) disposeOf(signal, 'default');
const env = Object.entries(process.env).filter((pair): pair is [string, string] => pair[1] !== undefined);
replaceProcess(file, [file, ...args], Object.fromEntries(env));
