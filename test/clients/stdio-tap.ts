/**
 * `node stdio-tap.js FACTS COMMAND ARGUMENT…`: runs a stdio server, passes every byte on, and appends what it learns to
 * the file before the client can act on it.
 */
import { spawn } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { LineFramer } from '../../src/lines.ts';
import { Listener } from './wire.ts';

const [, , file = '', command = '', ...args] = process.argv;
const listener = new Listener((fact) => appendFileSync(file, `${JSON.stringify(fact)}\n`));
const server = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });

function tap(from: Readable, see: (line: string) => void): void {
  const framer = new LineFramer({
    maxBytes: 16 * 1024 * 1024,
    onLine: (line) => see(line.toString()),
    onOversize: () => {},
  });
  from.on('data', (chunk: Buffer) => framer.push(chunk));
}

tap(process.stdin, (line) => listener.fromClient(line));
tap(server.stdout, (line) => listener.fromServer(line));
process.stdin.pipe(server.stdin);
server.stdout.pipe(process.stdout);
for (const stream of [server.stdin, process.stdout]) stream.on('error', () => server.kill());
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => server.kill(signal));
server.on('close', (code) => process.exit(code ?? 1));
