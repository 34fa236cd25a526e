/** The daemon under systemd: the unit as systemd reads it, and what the daemon tells its service manager. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { hasTool } from '../os/support.ts';
import { eventually, mainFile, startDaemon } from '../support/daemon.ts';

function ostiary(args: readonly string[], env: Record<string, string> = {}) {
  return spawnSync(process.execPath, [mainFile, ...args], { encoding: 'utf8', cwd: '/', env });
}

/** The files that `service print` shows, by path. */
function printed(option: string): Map<string, string> {
  const { stdout, stderr, status } = ostiary(['service', 'print', option], { HOME: '/nowhere' });
  assert.equal(status, 0, stderr);
  const parts = stdout.split(/^# (\/\S+)\n/m).slice(1);
  return new Map(parts.flatMap((path, index) => (index % 2 === 0 ? [[path, parts[index + 1] ?? '']] : [])));
}

for (const option of ['--system', '--user'])
  test(`the unit of ${option} is one that systemd understands`, (t) => {
    if (!hasTool(t, 'systemd-analyze')) return;
    const directory = mkdtempSync(join(tmpdir(), 'ostiary-unit-'));
    t.after(() => rmSync(directory, { recursive: true }));
    const [path, text] = [...printed(option)].find(([name]) => name.endsWith('.service')) ?? assert.fail();
    assert.match(path, option === '--user' ? /^\/nowhere\/\.config\// : /^\/etc\/systemd\/system\//);
    const unit = join(directory, 'ostiary.service');
    writeFileSync(unit, text);
    const verify = spawnSync('systemd-analyze', ['verify', unit], { encoding: 'utf8' });
    assert.deepEqual([verify.status, verify.stderr.includes('ostiary')], [0, false], verify.stderr);
    if (option === '--user') return;
    const security = spawnSync('systemd-analyze', ['security', '--offline=true', '--threshold=40', unit]);
    assert.equal(security.status, 0, String(security.stdout));
  });

test('the system unit keeps what it promises, and lets the daemon see whose a connection is', () => {
  const text = printed('--system').get('/etc/systemd/system/ostiary.service') ?? assert.fail();
  for (const line of [
    'Type=notify',
    'User=ostiary',
    'LoadCredentialEncrypted=ostiary-vault:/etc/ostiary/vault.cred',
    'LimitCORE=0',
    'MemorySwapMax=0',
    'KeyringMode=private',
    'NoNewPrivileges=yes',
    'CapabilityBoundingSet=',
    'ProtectSystem=strict',
    'PrivateTmp=yes',
    'UMask=0077',
  ])
    assert.ok(text.includes(`\n${line}\n`), line);
  assert.match(text, /^RestrictAddressFamilies=.*AF_NETLINK/m);
  // It forbids openat2, and bubblewrap needs that.
  assert.doesNotMatch(text, /^RestrictSUIDSGID=/m);
  // In a user namespace every peer would be 65534.
  assert.doesNotMatch(text, /^PrivateUsers=/m);
});

test('`service install` writes a unit, replaces no other, and `uninstall` removes it', (t) => {
  const home = mkdtempSync(join(tmpdir(), 'ostiary-home-'));
  t.after(() => rmSync(home, { recursive: true }));
  const env = { HOME: home };
  const unit = join(home, '.config', 'systemd', 'user', 'ostiary.service');
  assert.match(ostiary(['service', 'install', '--user'], env).stdout, /next: systemctl --user enable/);
  assert.equal(statSync(unit).mode & 0o777, 0o644);
  assert.equal(ostiary(['service', 'install', '--user'], env).status, 0, 'again, the same');
  writeFileSync(unit, '[Service]\n');
  assert.match(ostiary(['service', 'install', '--user'], env).stderr, /another file already/);
  assert.equal(readFileSync(unit, 'utf8'), '[Service]\n');
  assert.equal(ostiary(['service', 'install', '--user', '--force'], env).status, 0);
  assert.equal(ostiary(['service', 'uninstall', '--user'], env).status, 0);
  assert.ok(!existsSync(unit));
  for (const args of [[], ['--user', '--system']])
    assert.match(ostiary(['service', 'print', ...args], env).stderr, /expected one of --system and --user/);
});

test('a service manager is told when the daemon is ready, and when it stops', async (t) => {
  // Node has no datagram sockets of this kind: a few lines of Python listen.
  if (!hasTool(t, 'python3')) return;
  const directory = mkdtempSync(join(tmpdir(), 'o-notify-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'n');
  const code = `
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('listening', flush=True)
while True: print(s.recv(100).decode(), flush=True)`;
  const manager = spawn('python3', ['-c', code, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => void manager.kill('SIGKILL'));
  let heard = '';
  manager.stdout.on('data', (chunk) => {
    heard += String(chunk);
  });
  await once(manager.stdout, 'data');
  const daemon = await startDaemon(t, { env: { NOTIFY_SOCKET: path } });
  await eventually('READY', () => heard.includes('READY=1'));
  assert.ok(!heard.includes('STOPPING'));
  const children = readFileSync(`/proc/${daemon.pid}/task/${daemon.pid}/children`, 'latin1').split(' ');
  assert.ok(children.length > 1, 'its watchdog');
  for (const pid of children.filter(Boolean))
    assert.ok(!readFileSync(`/proc/${pid}/environ`, 'latin1').includes('NOTIFY_SOCKET'));
  await daemon.stop();
  await eventually('STOPPING', () => heard.includes('STOPPING=1'));
});
