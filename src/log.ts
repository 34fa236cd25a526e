/** pino's only door. Every line passes the scrubber before it leaves the process (D5). */
import { type Logger, pino } from 'pino';

export type Log = Logger;

/**
 * @param write takes one line, newline included
 * @param scrub the redaction engine's text form
 */
export function createLog(write: (line: string) => void, scrub: (line: string) => string): Log {
  return pino(
    { base: { pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime, level: 'info' },
    { write: (line: string) => write(scrub(line)) },
  );
}
