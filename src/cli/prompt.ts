/** Asking a person for a secret: the terminal itself, never stdin, argv or the environment. */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { ReadStream, WriteStream } from 'node:tty';
import { Failure } from '../errors.ts';

function openTerminal(flags: 'r' | 'w', hint: string): number {
  try {
    return openSync('/dev/tty', flags);
  } catch (error) {
    throw new Failure('credential', 'there is no terminal to ask on', { hint, cause: error });
  }
}

/** `read` never settles when its line editor closes without a line, as on Ctrl-D. */
function closed(input: ReadStream): Promise<never> {
  return new Promise((_, reject) => {
    // The editor pauses its input also after a line, just before `read` settles.
    input.once('pause', () => setImmediate(reject, new Error('end of input')));
  });
}

async function ask(prompt: string, hint: string, silent: boolean): Promise<string> {
  const { read } = await import('read');
  const input = new ReadStream(openTerminal('r', hint));
  const output = new WriteStream(openTerminal('w', hint));
  try {
    return await Promise.race([read<string>({ prompt, silent, input, output }), closed(input)]);
  } catch (error) {
    throw new Failure('failure', 'cancelled', { cause: error });
  } finally {
    if (silent) output.write('\n');
    input.destroy();
    output.end();
  }
}

/**
 * One line typed on the controlling terminal without echo. The caller overwrites it with zeros; the string that the
 * line editor makes of it cannot be.
 * @param hint what to do where there is no terminal
 */
export async function askHidden(prompt: string, hint: string): Promise<Buffer> {
  return Buffer.from(await ask(prompt, hint, true));
}

/** Whether somebody at the controlling terminal says yes; anything else is a no. */
export async function askYesNo(question: string, hint: string): Promise<boolean> {
  return /^y(es)?$/i.test((await ask(`${question} [y/N]`, hint, false)).trim());
}

/** Shows what must not go into a file or pipe by accident: on the terminal itself, whatever stdout is. */
export function showOnTerminal(lines: readonly string[], hint: string): void {
  const descriptor = openTerminal('w', hint);
  writeSync(descriptor, lines.map((line) => `${line}\n`).join(''));
  closeSync(descriptor);
}

/** As {@link askHidden}, typed twice. */
export async function askNewHidden(what: string, hint: string): Promise<Buffer> {
  const first = await askHidden(`${what}:`, hint);
  const second = await askHidden(`${what} again:`, hint);
  const same = first.equals(second);
  second.fill(0);
  if (same) return first;
  first.fill(0);
  throw new Failure('usage', 'the two entries differ');
}

/** @throws {Failure} when `text`, the value of `--OPTION`, is no number; it may be a secret, so it is not repeated */
export function descriptorNumber(option: string, text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new Failure('usage', `${option} takes the number of an open file descriptor`, {
    hint: `ostiary … ${option} 3 3</path/of/the/file`,
  });
}

/** What the open descriptor `--OPTION N` gives, to its end, without a trailing line end. */
export function readDescriptor(option: string, descriptor: string): Buffer {
  const number = descriptorNumber(option, descriptor);
  try {
    const text = readFileSync(number);
    closeSync(number);
    const end = text.at(-1) === 0x0a ? (text.at(-2) === 0x0d ? -2 : -1) : text.length;
    return text.subarray(0, end);
  } catch (error) {
    throw new Failure('usage', `file descriptor ${number} cannot be read`, { cause: error });
  }
}
