/** JSON Schemas (2020-12) that `scripts/build.mjs` turned into checks by ajv when this package was built. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { ErrorObject } from 'ajv';
import { packageRoot } from './paths.ts';

export type SchemaError = ErrorObject;

/** Returns the errors, all of them; an empty array when `value` fits. */
export type Check = (value: unknown) => SchemaError[];

/** Compiling one at each start would take longer than all else that a command does. */
export function compiledSchema(name: 'config'): Check {
  const file = join(packageRoot, 'dist', 'schemas', `${name}.cjs`);
  const validate = createRequire(import.meta.url)(file) as {
    (value: unknown): boolean;
    errors?: SchemaError[] | null;
  };
  return (value) => (validate(value) ? [] : [...(validate.errors ?? [])]);
}
