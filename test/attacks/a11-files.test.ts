/**
 * A11: everything that ostiary writes is closed to other users by its own mode, not only by that of a directory above,
 * and holds no value in the clear. Another uid really tries.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { mainFile } from '../../src/cli/main-file.ts';
import { canBecome, run } from '../os/support.ts';
import { startDaemon } from '../support/daemon.ts';
import { canary, scanForLeaks } from '../support/leaks.ts';
import { fixtureServer } from '../support/servers.ts';
import { stranger } from '../support/users.ts';

const owner = 2002;

const READ = `
const opened = [];
const walk = (path) => {
  let names;
  try { names = fs.readdirSync(path); opened.push(path); } catch { return; }
  for (const name of names) walk(path + '/' + name);
};
for (const path of JSON.parse(env.ROOTS)) walk(path);
for (const path of JSON.parse(env.FILES)) {
  for (const flags of ['r', 'a']) try { fs.openSync(path, flags); opened.push(flags + ' ' + path); } catch {}
}
say(JSON.stringify(opened));
`;

test('A11 A17: vault, key, lock, logs, audit log, sockets and work directories are their user’s alone', async (t) => {
  if (!canBecome(t, owner) || !canBecome(t, stranger)) return;
  const secret = canary('files');
  const daemon = await startDaemon(t, {
    uid: owner,
    umask: 0,
    config: { upstreams: { chatty: { ...fixtureServer('chatty'), secrets: { TOKEN: 'vault:token' } } } },
    secrets: { token: secret.value },
    // Whatever keeps others out has to be of our making.
    prepare: ({ directory, env }) => {
      for (const path of [directory, env.XDG_STATE_HOME, env.XDG_RUNTIME_DIR])
        chmodSync(path as string, 0o755);
    },
  });
  const { home } = daemon;
  await daemon.newSession();
  // The upstream gets its secret, and leaves what it leaves.
  execFileSync(process.execPath, [mainFile, 'list', 'chatty'], {
    env: home.env,
    uid: owner,
    gid: owner,
    cwd: '/',
  });
  await daemon.audited(({ event }) => event === 'upstream.started');

  const roots = [home.state, join(home.runtime, 'ostiary')];
  const paths = roots.flatMap((root) => [
    root,
    ...readdirSync(root, { recursive: true }).map((name) => join(root, String(name))),
  ]);
  for (const name of ['vault.json', 'vault.key', 'vault.lock', 'audit.jsonl', 'control.sock', 'agent.sock'])
    assert.ok(
      paths.some((path) => path.endsWith(`/${name}`)),
      `${name} is looked at`,
    );
  for (const path of paths) {
    const { mode, uid } = lstatSync(path);
    // Copies of programs are there to be run, and to be read by nobody.
    const isCopy = path.startsWith(join(home.state, 'programs/')) && (mode & 0o777) === 0o111;
    assert.equal(isCopy ? 0 : mode & 0o077, 0, `${path}: mode ${(mode & 0o777).toString(8)}`);
    assert.equal(uid, owner, path);
  }
  const env = { ROOTS: JSON.stringify(roots), FILES: JSON.stringify(paths) };
  const opened = JSON.parse(await run(t, READ, { uid: stranger, env }).line());
  assert.deepEqual(opened, []);
  assert.ok(
    JSON.parse(await run(t, READ, { uid: owner, env }).line()).length > 0,
    'their owner, by the same means, does open them',
  );
  await daemon.stop();
  const files = roots.slice(0, 1);
  assert.deepEqual(scanForLeaks([secret], { texts: [daemon.log()], files }), []);
});
