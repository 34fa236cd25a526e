// Runs the compiled tests on every Node that we support. Each one comes from npm, as the package `node`, into a temporary
// directory; its install script, which picks the binary of this platform, is the one that is allowed to run.
//
//   npm test && node scripts/matrix.mjs [VERSION…]
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

const versions = process.argv.length > 2 ? process.argv.slice(2) : ['20.19', '22', '24', '26'];
const tests = join(import.meta.dirname, 'test.mjs');
const failed = [];
for (const version of versions) {
  const directory = mkdtempSync(join(tmpdir(), 'ostiary-node-'));
  // Tests run this Node as other users too.
  chmodSync(directory, 0o755);
  try {
    const install = [
      'install',
      '--prefix',
      directory,
      '--ignore-scripts=false',
      '--no-save',
      `node@${version}`,
    ];
    if (spawnSync('npm', install, { stdio: 'inherit' }).status !== 0) throw new Error(`no node@${version}`);
    const bin = join(directory, 'node_modules', 'node', 'bin');
    const env = { ...process.env, PATH: [bin, process.env.PATH].join(delimiter) };
    const { status } = spawnSync(join(bin, 'node'), [tests], { stdio: 'inherit', env });
    if (status !== 0) failed.push(version);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
console.log(failed.length === 0 ? `passed on ${versions.join(', ')}` : `failed on ${failed.join(', ')}`);
process.exit(failed.length === 0 ? 0 : 1);
