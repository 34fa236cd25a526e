// Boots a machine with systemd and follows docs/shared-host.md in it, word for word: a line for each check, exit code 1
// when one fails. As root on Debian; takes packages from Debian and npm, and leaves nothing but those of Debian.
//
//   node scripts/boot-unit.mjs                 in systemd-nspawn: minutes, on the kernel that runs here
//   node scripts/boot-unit.mjs --qemu          in QEMU, on Debian's own kernel; emulated, half an hour. --kvm: not emulated
//   … --suite trixie                           another Debian than bookworm
//   … --cache DIRECTORY                        keeps the bare system there for the next time
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    qemu: { type: 'boolean', default: false },
    kvm: { type: 'boolean', default: false },
    suite: { type: 'string', default: 'bookworm' },
    cache: { type: 'string' },
  },
});
const inQemu = values.qemu || values.kvm;
const checkout = join(import.meta.dirname, '..');

const packages = [
  ...['systemd', 'systemd-sysv', 'libpam-systemd', 'dbus', 'udev', 'bubblewrap', 'sudo', 'procps'],
  // Of Node's own builds.
  ...['libstdc++6', 'libatomic1'],
  ...(inQemu ? ['linux-image-cloud-amd64'] : []),
];

const told = (line) => process.stderr.write(`${line}\n`);

/** What a tool says is shown when it fails. */
function run(command, args, options = {}) {
  const { status, stdout, stderr } = spawnSync(command, args, {
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
    ...options,
  });
  if (status !== 0)
    throw new Error(`${command} ${args[0]}: exit code ${status}\n${stdout}${stderr}`.slice(-4000));
}

function installTools() {
  const tools = {
    debootstrap: 'debootstrap',
    ...(inQemu ? { 'qemu-system-x86_64': 'qemu-system-x86' } : { 'systemd-nspawn': 'systemd-container' }),
  };
  const missing = Object.entries(tools).filter(
    ([tool]) => !['/usr/bin', '/usr/sbin'].some((place) => existsSync(join(place, tool))),
  );
  if (missing.length === 0) return;
  run('apt-get', ['update', '-qq']);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...missing.map(([, name]) => name)], {
    env,
  });
}

/** A bare Debian, from the cache if it is there. */
function bareSystem(scratch) {
  const place = join(values.cache ?? scratch, `${values.suite}-${inQemu ? 'qemu' : 'nspawn'}`);
  if (existsSync(place)) return place;
  told(`debootstrap of ${values.suite}`);
  const unfinished = join(scratch, 'debootstrap');
  run('debootstrap', ['--variant=minbase', `--include=${packages.join()}`, values.suite, unfinished]);
  mkdirSync(join(place, '..'), { recursive: true });
  run('mv', [unfinished, place]);
  return place;
}

function furnish(root, scratch) {
  told('npm pack and npm install --global');
  run('npm', ['run', '--silent', 'build'], { cwd: checkout });
  run('npm', ['pack', '--silent', '--pack-destination', scratch], { cwd: checkout });
  const [archive] = readdirSync(scratch).filter((name) => name.endsWith('.tgz'));
  copyFileSync(process.execPath, join(root, 'usr/bin/node'));
  // From outside, where the registry is; what it writes is what it would write inside.
  run('npm', [
    'install',
    '--global',
    '--silent',
    '--ignore-scripts',
    '--prefix',
    join(root, 'usr'),
    join(scratch, archive),
  ]);
  const own = join(root, 'boot-unit');
  cpSync(join(import.meta.dirname, 'boot-unit'), own, { recursive: true });
  for (const file of ['docs/shared-host.md', 'examples/agent.mjs', 'test/fixtures/lib/stdio.mjs'])
    copyFileSync(join(checkout, file), join(own, file.split('/').at(-1)));
  symlinkSync('/boot-unit/claude.sh', join(root, 'usr/local/bin/claude'));
  symlinkSync('/boot-unit/github-mcp-server.mjs', join(root, 'usr/local/bin/github-mcp-server'));
  writeFileSync(join(root, 'etc/hostname'), 'box\n');
  writeFileSync(join(root, 'etc/hosts'), '127.0.0.1 localhost box\n');
  writeFileSync(join(root, 'etc/fstab'), inQemu ? '/dev/vda / ext4 rw 0 1\n' : '');
  const unit = [
    '[Unit]',
    'After=multi-user.target',
    'SuccessAction=poweroff',
    'FailureAction=poweroff',
    '[Service]',
    'ExecStart=/usr/bin/node /boot-unit/inside.mjs',
    'RuntimeMaxSec=2h',
    'StandardOutput=tty',
    'StandardError=tty',
    'TTYPath=/dev/console',
    '[Install]',
    'WantedBy=graphical.target',
  ];
  writeFileSync(join(root, 'etc/systemd/system/boot-unit.service'), `${unit.join('\n')}\n`);
  run('systemctl', ['--root', root, 'enable', 'boot-unit.service']);
  // They would take the console away.
  run('systemctl', ['--root', root, 'mask', 'console-getty.service', 'serial-getty@ttyS0.service']);
}

const name = `boot-unit-${process.pid}`;

/** Without systemd outside there is nobody to register the machine with. */
function nspawn(root) {
  const alone = existsSync('/run/systemd/system') ? [] : ['--register=no', '--keep-unit'];
  const args = [
    '-D',
    root,
    '-M',
    name,
    '--boot',
    '--private-network',
    '--console=read-only',
    // What a host allows: the keyring and Landlock.
    '--system-call-filter=@keyring landlock_create_ruleset landlock_add_rule landlock_restrict_self',
    ...alone,
    'systemd.show_status=0',
  ];
  return spawn('systemd-nspawn', args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1' },
  });
}

function qemu(root, scratch) {
  told('the image');
  const image = join(scratch, 'image');
  run('truncate', ['-s', '3G', image]);
  run('mkfs.ext4', ['-q', '-d', root, image]);
  const [kernel, initrd] = ['vmlinuz', 'initrd'].map((prefix) =>
    join(
      root,
      'boot',
      readdirSync(join(root, 'boot')).find((file) => file.startsWith(prefix)),
    ),
  );
  const args = [
    ...['-machine', 'q35', '-accel', values.kvm ? 'kvm' : 'tcg,thread=multi', '-m', '2048', '-smp', '2'],
    ...[
      '-kernel',
      kernel,
      '-initrd',
      initrd,
      '-append',
      'root=/dev/vda rw console=ttyS0 quiet systemd.show_status=0 panic=-1',
    ],
    ...['-drive', `file=${image},format=raw,if=virtio,cache=unsafe`, '-nic', 'none'],
    ...['-display', 'none', '-monitor', 'none', '-serial', 'stdio', '-no-reboot'],
  ];
  return spawn('qemu-system-x86_64', args, { stdio: ['ignore', 'pipe', 'inherit'] });
}

/** The first process of a container goes on without nspawn; with it all others go. */
function end({ pid }) {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ').filter(Boolean);
    for (const each of [...children, pid]) process.kill(each, 'SIGKILL');
  } catch {
    // It has ended meanwhile.
  }
}

let machine;
const scratch = mkdtempSync(join(tmpdir(), 'boot-unit-'));
function cleanUp() {
  if (machine?.exitCode === null) end(machine);
  rmSync(scratch, { recursive: true, force: true, maxRetries: 20 });
  rmSync(join('/run/systemd/nspawn/propagate', name), { recursive: true, force: true });
}
process.on('exit', cleanUp);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1));

installTools();
const root = join(scratch, 'root');
run('cp', ['-a', '--reflink=auto', bareSystem(scratch), root]);
furnish(root, scratch);
told('boot');
machine = inQemu ? qemu(root, scratch) : nspawn(root);
const ended = once(machine, 'close');
let last;
const rest = [];
for await (const line of createInterface({ input: machine.stdout })) {
  const [, said] = /\| (.*)$/.exec(line) ?? [];
  if (said === undefined) rest.push(line);
  else {
    console.log(said);
    last = said;
  }
}
await ended;
if (last !== 'done') process.exitCode = 1;
if (!last?.startsWith('done')) told(`it did not come to its end:\n${rest.slice(-40).join('\n')}`);
