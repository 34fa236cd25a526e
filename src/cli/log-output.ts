/** Where the daemon's log goes: its standard error, a file or whatever a supervisor reads. */
import { writeSync } from 'node:fs';

/**
 * Writes whole lines to `descriptor`. A log that takes nothing, because its disk or its reader's pipe is full, costs its
 * lines and not the daemon: an upstream decides how much is logged (F4).
 */
export function logWriter(
  descriptor: number,
  write: (descriptor: number, bytes: Buffer) => number = writeSync,
): (line: string) => void {
  let lost = 0;
  let inLine = false;
  const put = (text: string): void => {
    for (let rest = Buffer.from(text); rest.length > 0; ) {
      rest = rest.subarray(write(descriptor, rest));
      inLine = rest.length > 0;
    }
  };
  return (line) => {
    try {
      if (inLine) put('\n');
      if (lost > 0) put(`{"msg":"the log was full","lostLines":${lost}}\n`);
      lost = 0;
      put(line);
    } catch {
      lost++;
    }
  };
}
