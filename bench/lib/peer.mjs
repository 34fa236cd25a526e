/** Peers from npm, installed beside the benchmark and nowhere else. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { httpTarget } from './http-target.mjs';

const modules = fileURLToPath(new URL('../node_modules', import.meta.url));

/** `script`: the peer's bin JS below node_modules, run without a shim; `args(port)`: its arguments. */
export function peer({ name, script, args }) {
  const path = `${modules}/${script}`;
  return httpTarget({
    name,
    argv: (port) => [process.execPath, path, ...args(port)],
    missing: () => (existsSync(path) ? null : 'not installed; run: npm --prefix bench ci'),
  });
}
