/** ajv's only door: compiles a JSON Schema (2020-12) into a check. */
import { Ajv2020, type ErrorObject } from 'ajv/dist/2020.js';

export type SchemaError = ErrorObject;

/** Returns the errors, all of them; an empty array when `value` fits. */
export type Check = (value: unknown) => SchemaError[];

export function compileSchema(schema: object): Check {
  const validate = new Ajv2020({
    allErrors: true,
    strict: true,
    allowUnionTypes: true,
    verbose: true,
    // Ours are valid (a test sees to it); checking that again would be most of the work at each start.
    validateSchema: false,
  }).compile(schema);
  return (value) => (validate(value) ? [] : [...(validate.errors ?? [])]);
}
