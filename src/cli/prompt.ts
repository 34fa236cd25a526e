/** Asking a person for a secret: the terminal itself, never stdin, argv or the environment. */
import { closeSync, openSync, readFileSync } from 'node:fs';
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

/**
 * One line typed on the controlling terminal without echo. The caller overwrites it with zeros; the string that the
 * line editor makes of it cannot be.
 * @param hint what to do where there is no terminal
 */
export async function askHidden(prompt: string, hint: string): Promise<Buffer> {
  const { read } = await import('read');
  const input = new ReadStream(openTerminal('r', hint));
  const output = new WriteStream(openTerminal('w', hint));
  try {
    return Buffer.from(
      await Promise.race([read<string>({ prompt, silent: true, input, output }), closed(input)]),
    );
  } catch (error) {
    throw new Failure('failure', 'cancelled', { cause: error });
  } finally {
    output.write('\n');
    input.destroy();
    output.end();
  }
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

/** What `--passphrase-fd N` names, to its end, without a trailing line end. */
export function readPassphrase(descriptor: string): Buffer {
  if (!/^\d{1,9}$/.test(descriptor))
    throw new Failure('usage', '--passphrase-fd takes the number of an open file descriptor', {
      hint: 'ostiary … --passphrase-fd 3 3</path/of/the/passphrase',
    });
  const number = Number(descriptor);
  try {
    const text = readFileSync(number);
    closeSync(number);
    const end = text.at(-1) === 0x0a ? (text.at(-2) === 0x0d ? -2 : -1) : text.length;
    return text.subarray(0, end);
  } catch (error) {
    throw new Failure('usage', `file descriptor ${number} cannot be read`, { cause: error });
  }
}
