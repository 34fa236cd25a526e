/**
 * A real writer process: `child.js MODE FILE NAME COUNT`. It reports each resolved append on standard output with a
 * synchronous write, so that what the parent read before a kill -9 had been resolved.
 */
import { once } from 'node:events';
import { rmSync, writeFileSync, writeSync } from 'node:fs';
import { describeArguments } from '../../../src/proxy/audit/arguments.ts';
import { verifyLog } from '../../../src/proxy/audit/verify.ts';
import { AuditLog } from '../../../src/proxy/audit/writer.ts';
import { started } from './support.ts';

const [, , mode, file = '', name = '', countText = '0'] = process.argv;
const count = Number(countText);

function say(line: string): void {
  writeSync(1, `${line}\n`);
}

/** One record per turn. Waits for the parent before the first and before the second half, so that writers meet. */
async function single(log: AuditLog): Promise<void> {
  for (let at = 0; at < count; at++) {
    if (at === 0 || at === count / 2) {
      const go = once(process.stdin, 'data');
      say('gate');
      await go;
    }
    await log.append(started(`${name}-${at}`));
  }
  process.stdin.destroy();
}

/** Megabytes per write, endlessly: the kernel gives up between pages when the process is killed. */
async function flood(log: AuditLog): Promise<void> {
  const summary = describeArguments(
    Object.fromEntries(Array.from({ length: 32 }, (_, at) => [`key-${at}`, at])),
  );
  for (let at = 0; ; at += count)
    await Promise.all(
      Array.from({ length: count }, async (_, offset) => {
        const call = `${name}-${at + offset}`;
        await log.append({ ...started(call), arguments: summary });
        say(call);
      }),
    );
}

/** Fills the disk, then makes room and goes on. */
async function full(log: AuditLog): Promise<void> {
  const ballast = `${file}.ballast`;
  if (name !== '') writeFileSync(ballast, Buffer.alloc(Number(name)));
  let resolved = 0;
  let error: unknown;
  while (error === undefined)
    await Promise.all([1, 2, 3].map((part) => log.append(started(`${resolved}.${part}`)))).then(
      () => {
        resolved += 3;
      },
      (reason: unknown) => {
        error = reason;
      },
    );
  const whole = verifyLog(file);
  rmSync(ballast, { force: true });
  const again = await log.append(started('again')).then(
    () => true,
    () => false,
  );
  await log.close();
  const end = verifyLog(file);
  say(JSON.stringify({ code: (error as NodeJS.ErrnoException).code, resolved, whole, again, end }));
}

const log = AuditLog.open(file);
say('open');
if (mode === 'flood') await flood(log);
else if (mode === 'full') await full(log);
else await single(log).then(() => log.close());
