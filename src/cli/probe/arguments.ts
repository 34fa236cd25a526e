/** The least that a JSON Schema accepts, as far as can be told without solving it: arguments for a call that only reads. */
import { isObject } from '../../jsonrpc.ts';

/** Deeper schemas are seldom required ones, and may refer to themselves. */
const DEPTH = 8;

/** Texts longer than this are padding that some schema asks for; a server that wants more is not called well. */
const LONGEST = 1024;

const FORMATS: Readonly<Record<string, string>> = {
  uri: 'https://example.invalid/',
  url: 'https://example.invalid/',
  email: 'nobody@example.invalid',
  date: '2000-01-01',
  'date-time': '2000-01-01T00:00:00Z',
  uuid: '00000000-0000-4000-8000-000000000000',
};

function first(value: unknown): unknown {
  return Array.isArray(value) ? value[0] : undefined;
}

/** Resolves `#/$defs/x`; nothing is fetched (F9). */
function resolve(ref: unknown, root: unknown): unknown {
  if (typeof ref !== 'string' || !ref.startsWith('#/')) return undefined;
  let found: unknown = root;
  for (const part of ref.slice(2).split('/')) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~');
    found = isObject(found) && Object.hasOwn(found, key) ? found[key] : undefined;
  }
  return found;
}

function text({ format, minLength }: Record<string, unknown>): string {
  const known = typeof format === 'string' && Object.hasOwn(FORMATS, format) ? FORMATS[format] : undefined;
  const length = typeof minLength === 'number' ? Math.min(minLength, LONGEST) : 0;
  return (known ?? 'probe').padEnd(length, '.');
}

function number({ minimum, exclusiveMinimum, maximum }: Record<string, unknown>): number {
  if (typeof minimum === 'number') return minimum;
  if (typeof exclusiveMinimum === 'number') return exclusiveMinimum + 1;
  return typeof maximum === 'number' ? Math.min(1, maximum) : 1;
}

function value(schema: unknown, root: unknown, depth: number): unknown {
  if (!isObject(schema) || depth > DEPTH) return null;
  if ('const' in schema) return schema.const;
  if ('default' in schema) return schema.default;
  const given = first(schema.enum) ?? first(schema.examples);
  if (given !== undefined) return given;
  const other =
    resolve(schema.$ref, root) ?? first(schema.anyOf) ?? first(schema.oneOf) ?? first(schema.allOf);
  if (other !== undefined) return value(other, root, depth + 1);
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  switch (type) {
    case 'string':
      return text(schema);
    case 'number':
    case 'integer':
      return number(schema);
    case 'boolean':
      return false;
    case 'array': {
      const least = typeof schema.minItems === 'number' ? Math.min(schema.minItems, DEPTH) : 0;
      return Array.from({ length: least }, () => value(schema.items, root, depth + 1));
    }
    case 'null':
      return null;
    default:
      return object(schema, root, depth);
  }
}

function object(schema: Record<string, unknown>, root: unknown, depth: number): Record<string, unknown> {
  const properties = isObject(schema.properties) ? schema.properties : {};
  const required = Array.isArray(schema.required) ? schema.required.map(String) : [];
  return Object.fromEntries(
    required.map((name) => [
      name,
      value(Object.hasOwn(properties, name) ? properties[name] : undefined, root, depth + 1),
    ]),
  );
}

/** @param schema a tool's `inputSchema`, from an upstream that may say anything */
export function leastArguments(schema: unknown): Record<string, unknown> {
  return isObject(schema) ? object(schema, schema, 0) : {};
}
