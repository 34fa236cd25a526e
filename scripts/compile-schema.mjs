// Our JSON Schemas → dist/schemas/NAME.cjs, checks that need no compiler when they run.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import standalone from 'ajv/dist/standalone/index.js';

const root = join(import.meta.dirname, '..');
const directory = join(root, 'dist', 'schemas');
mkdirSync(directory, { recursive: true });
for (const [name, file] of [['config', 'config.schema.json']]) {
  const ajv = new Ajv2020({
    allErrors: true,
    strict: true,
    allowUnionTypes: true,
    verbose: true,
    code: { source: true },
  });
  const check = ajv.compile(JSON.parse(readFileSync(join(root, file), 'utf8')));
  writeFileSync(join(directory, `${name}.cjs`), standalone.default(ajv, check));
}
