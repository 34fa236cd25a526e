/**
 * A request's headers as they came. Node's own views join or drop those that were sent twice, and the one that does not
 * is built anew for every request.
 */
import type { IncomingMessage } from 'node:http';

/**
 * All values of a header, in their order.
 * @param name in lower case
 */
export function valuesOf({ rawHeaders }: Pick<IncomingMessage, 'rawHeaders'>, name: string): string[] {
  const values: string[] = [];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const key = rawHeaders[at] as string;
    if (key.length === name.length && key.toLowerCase() === name) values.push(rawHeaders[at + 1] as string);
  }
  return values;
}

/** Name in lower case → its value, or `undefined` where it was sent more than once. */
export function singleValues({
  rawHeaders,
}: Pick<IncomingMessage, 'rawHeaders'>): Record<string, string | undefined> {
  const once: Record<string, string | undefined> = Object.create(null);
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = (rawHeaders[at] as string).toLowerCase();
    once[name] = name in once ? undefined : (rawHeaders[at + 1] as string);
  }
  return once;
}
