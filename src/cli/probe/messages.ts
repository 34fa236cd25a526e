/** Where in a message of a server a fake value stands. */
import { isObject } from '../../jsonrpc.ts';
import type { Fakes, Hit } from './fakes.ts';

export interface MessageHit extends Hit {
  /** `result.content[0].text`, or what names of members it is in. */
  readonly member: string;
}

function below(parent: string, key: string | number): string {
  if (typeof key === 'number') return `${parent}[${key}]`;
  return parent === '' ? key : `${parent}.${key}`;
}

/** Every text of `value` with its path; a name that holds a fake value is not part of any path. */
function* texts(
  value: unknown,
  path: string,
  fakes: Fakes,
): Generator<readonly [path: string, text: string]> {
  if (typeof value === 'string') yield [path, value];
  else if (Array.isArray(value))
    for (const [index, item] of value.entries()) yield* texts(item, below(path, index), fakes);
  else if (isObject(value))
    for (const [key, item] of Object.entries(value)) {
      yield [`a name in ${path === '' ? 'the message' : path}`, key];
      yield* texts(item, below(path, fakes.find(key).length > 0 ? '…' : key), fakes);
    }
}

export function hitsIn(message: Buffer, fakes: Fakes): MessageHit[] {
  const whole = fakes.findSplit(message);
  if (whole.length === 0) return [];
  let value: unknown;
  try {
    value = JSON.parse(message.toString());
  } catch {
    return whole.map((hit) => ({ ...hit, member: '' }));
  }
  const found = [...texts(value, '', fakes)].flatMap(([member, text]) =>
    fakes.find(text).map((hit) => ({ ...hit, member })),
  );
  const seen = new Set(found.map(({ credential }) => credential));
  return [
    ...found,
    ...whole
      .filter(({ credential }) => !seen.has(credential))
      .map((hit) => ({ ...hit, member: 'several texts' })),
  ];
}
