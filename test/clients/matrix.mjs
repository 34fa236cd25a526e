// Real MCP clients against this ostiary: installs them, builds, and prints what each negotiated, listed and called.
//
//   node test/clients/matrix.mjs [--only claude,codex,gemini,opencode,inspector] [--json FILE]
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..', '..');
for (const [command, ...args] of [
  ['npm', 'run', '--silent', 'build'],
  [join(root, 'node_modules', '.bin', 'tsc'), '-p', 'test/tsconfig.json'],
]) {
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}
const { main } = await import(new URL('../../build/test/clients/report.js', import.meta.url));
process.exitCode = await main(process.argv.slice(2));
