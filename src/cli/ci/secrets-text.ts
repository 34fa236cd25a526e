/** `NAME=VALUE` lines, or one JSON object of texts: what `run --ci --secrets-stdin` reads. */
import { Failure } from '../../errors.ts';
import { isObject } from '../../jsonrpc.ts';

const LINE_END = 0x0a;
const EQUALS = 0x3d;

const expected =
  'lines of NAME=VALUE, the value as it is, without quotes; or one JSON object of names and texts, for values of many lines';

/** Without the one trailing line end, which echo and editors add; the same memory. */
export function withoutLineEnd(bytes: Buffer): Buffer {
  if (bytes.at(-1) !== LINE_END) return bytes;
  return bytes.subarray(0, bytes.at(-2) === 0x0d ? -2 : -1);
}

function parseJson(bytes: Buffer): Map<string, Buffer> {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString());
  } catch {
    // Its message would quote the text.
  }
  if (!isObject(value) || !Object.values(value).every((text) => typeof text === 'string'))
    throw new Failure('usage', '--secrets-stdin: not a JSON object of texts', { hint: expected });
  return new Map(Object.entries(value).map(([name, text]) => [name, Buffer.from(String(text))]));
}

function parseLines(bytes: Buffer): Map<string, Buffer> {
  const values = new Map<string, Buffer>();
  let number = 0;
  for (let start = 0; start < bytes.length; ) {
    number++;
    const end = bytes.indexOf(LINE_END, start);
    const line = withoutLineEnd(bytes.subarray(start, end < 0 ? bytes.length : end + 1));
    start = end < 0 ? bytes.length : end + 1;
    if (line.toString('latin1').trim() === '') continue;
    const equals = line.indexOf(EQUALS);
    if (equals < 1)
      throw new Failure('usage', `--secrets-stdin: line ${number} is no NAME=VALUE`, { hint: expected });
    const name = line.toString('utf8', 0, equals);
    if (values.has(name)) throw new Failure('usage', `--secrets-stdin: line ${number} gives a name again`);
    values.set(name, Buffer.from(line.subarray(equals + 1)));
  }
  return values;
}

/**
 * Copies the values; the caller overwrites `bytes`.
 * @throws {Failure} naming the line, never what is on it
 */
export function parseSecrets(bytes: Buffer): Map<string, Buffer> {
  const values = bytes.toString('latin1').trimStart().startsWith('{') ? parseJson(bytes) : parseLines(bytes);
  if (values.size === 0)
    throw new Failure('usage', '--secrets-stdin: there is no secret', { hint: expected });
  return values;
}
