/** Does a value have the shape that `config.schema.json` gives? ajv's errors, said in the schema's own words. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../paths.ts';
import { type Check, compiledSchema, type SchemaError } from '../schema.ts';
import { describe, type Finding } from './finding.ts';
import { pointerTo } from './source.ts';
import { didYouMean } from './suggest.ts';

/** The published JSON Schema: source of truth, and what editors complete by. */
export const schemaFile: string = join(packageRoot, 'config.schema.json');

interface Schema {
  readonly title?: string;
  readonly type?: string;
  readonly $ref?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly $defs?: Readonly<Record<string, Schema>>;
}

interface Loaded {
  readonly schema: Schema;
  readonly check: Check;
}

let loaded: Loaded | undefined;

function load(): Loaded {
  if (loaded === undefined) {
    const schema = JSON.parse(readFileSync(schemaFile, 'utf8')) as Schema;
    loaded = { schema, check: compiledSchema('config') };
  }
  return loaded;
}

/** Every schema that can fail has a title: a phrase that fits after "expected". */
function titleOf(part: unknown, root: Schema): string {
  const { title, $ref } = (part ?? {}) as Schema;
  const target = $ref === undefined ? undefined : root.$defs?.[$ref.replace('#/$defs/', '')];
  return title ?? target?.title ?? 'another value';
}

const MERGE = 'expected no merge keys, got one; write the values out each time';

function say(error: SchemaError, root: Schema): Finding | null {
  const pointer = error.instancePath;
  const parent = error.parentSchema as Schema;
  switch (error.keyword) {
    case 'required': {
      const child = String(error.params.missingProperty);
      return {
        pointer,
        at: 'key',
        child,
        message: `expected ${titleOf(parent.properties?.[child], root)}, got nothing`,
      };
    }
    case 'additionalProperties': {
      const key = String(error.params.additionalProperty);
      const known = Object.keys(parent.properties ?? {});
      const expected = known.length === 1 ? known.join() : `one of ${known.join(', ')}`;
      const message = `expected ${expected}, got an unknown key${didYouMean(key, known)}`;
      return { pointer: pointerTo(pointer, key), at: 'key', message: key === '<<' ? MERGE : message };
    }
    case 'propertyNames': {
      const key = String(error.params.propertyName);
      const message = `expected ${titleOf(error.schema, root)}, got a key of ${key.length} characters`;
      return { pointer: pointerTo(pointer, key), at: 'key', message: key === '<<' ? MERGE : message };
    }
    case 'oneOf': {
      // Of the branches each requires one key. What is no map is reported as that.
      if (typeof error.data !== 'object' || error.data === null) return null;
      const keys = (error.schema as { required: string[] }[]).flatMap(({ required }) => required);
      const got = keys.some((key) => Object.hasOwn(error.data as object, key)) ? 'both' : 'neither';
      return { pointer, at: 'value', message: `expected either ${keys.join(' or ')}, got ${got}` };
    }
    case 'if': // What `then` or `else` found is reported by itself.
      return null;
    default: {
      const unquoted =
        parent.title === root.$defs?.text?.title && ['number', 'boolean'].includes(typeof error.data);
      const message = `expected ${titleOf(parent, root)}, got ${describe(error.data, pointer)}`;
      return { pointer, at: 'value', message: unquoted ? `${message}; put it in quotes` : message };
    }
  }
}

/** Everything in which `value` differs from the schema. */
export function checkShape(value: unknown): Finding[] {
  const { schema, check } = load();
  return check(value)
    .filter(
      (error) =>
        // Parts of an error that is reported as a whole: `oneOf` and `propertyNames`.
        !/\/oneOf\/\d+\//.test(error.schemaPath) && error.propertyName === undefined,
    )
    .map((error) => say(error, schema))
    .filter((finding) => finding !== null);
}
