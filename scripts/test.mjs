// Runs the compiled tests with Node's own runner, the same way on every Node that we support: as explicit files, since
// Node 20 knows no globs. Arguments narrow it down to files whose path contains one of them.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..', 'build', 'test');
const wanted = process.argv.slice(2);
const files = readdirSync(root, { recursive: true })
  .map((name) => join(root, String(name)))
  .filter((path) => path.endsWith('.test.js'))
  .filter((path) => wanted.length === 0 || wanted.some((part) => path.includes(part)))
  .sort();
const { status } = spawnSync(
  process.execPath,
  ['--test', '--test-concurrency=4', '--test-timeout=300000', '--test-reporter=spec', ...files],
  { stdio: 'inherit' },
);
process.exit(status ?? 1);
