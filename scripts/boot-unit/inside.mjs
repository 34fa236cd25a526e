/**
 * Runs in the machine that boot-unit.mjs has booted, as root: follows docs/shared-host.md, its code blocks word for word,
 * and looks at what comes of it. A line for each check, after `| `, on the console.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

const page = readFileSync('/boot-unit/shared-host.md', 'utf8');

/** The code blocks of a section. */
function blocks(heading, language) {
  const [, text = ''] = page.split(new RegExp(`^## ${heading}$`, 'm'));
  const [section] = text.split(/^## /m);
  return [...section.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map(
    ([, code]) => code,
  );
}

const canary = `canary-${randomBytes(12).toString('hex')}`;
const digest = createHash('sha256').update(canary).digest('hex');
const isContainer = spawnSync('systemd-detect-virt', ['--container']).status === 0;

let failed = 0;
const say = (line) => process.stdout.write(`| ${line}\r\n`);

async function check(what, body) {
  try {
    const note = await body();
    say(`ok    ${what}${typeof note === 'string' ? `: ${note}` : ''}`);
  } catch (error) {
    failed += 1;
    say(`FAIL  ${what}`);
    for (const line of `${error.message}\n${error.output ?? ''}`.split(/\r?\n/)) say(`      ${line}`);
  }
}

/** An emulated machine takes a minute for what takes a second elsewhere. */
const PATIENCE_MS = 300_000;

/** Everything that is printed anywhere is kept and searched for the canary at the end. */
let printed = '';

function finished(child, answers = []) {
  let output = '';
  let question = '';
  const left = [...answers];
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
      question += text;
      // A prompt, and where the cursor is put after it.
      // biome-ignore lint/suspicious/noControlCharactersInRegex: the terminal's own
      if (left.length === 0 || !/(?:: |\[y\/N\] ?)(?:\x1b\[\d+G)?$/.test(question)) return;
      question = '';
      child.stdin.write(`${left.shift()}\r`);
    });
  const timer = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS);
  return new Promise((resolve) => {
    child.on('close', (status) => {
      clearTimeout(timer);
      printed += output;
      resolve({ status, output });
    });
  });
}

function must({ status, output }, expected = 0) {
  if (status === expected) return output;
  throw Object.assign(new Error(`exit code ${status}, expected ${expected}`), { output });
}

function matches(output, pattern) {
  if (!pattern.test(output)) throw Object.assign(new Error(`expected ${pattern}`), { output });
  return output;
}

const root = (commands) => finished(spawn('bash', ['-ec', commands]));

/** On a terminal, where somebody types the answers. */
const typed = (commands, answers = []) =>
  finished(
    spawn('script', ['-qec', commands, '/dev/null'], { env: { ...process.env, SHELL: '/bin/bash' } }),
    answers,
  );

/** As a user who logs in, in the directory of a project. */
const loggedIn = (user, commands) =>
  spawn('su', ['-', user, '-c', `mkdir -p project; cd project\n${commands}`]);
const as = (user, commands) => finished(loggedIn(user, commands));

async function eventually(what, is) {
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; await pause(200)) if (await is()) return;
  throw new Error(`${what}: not in time`);
}

const show = (property) => String(spawnSync('systemctl', ['show', '-P', property, 'ostiary']).stdout).trim();
const mainPid = () => show('MainPID');
const uidOf = (user) => Number(String(spawnSync('id', ['-u', user]).stdout));
const processesOf = (user) => String(spawnSync('ps', ['-o', 'args=', '-U', user]).stdout).trim();
const audit = () => readFileSync('/var/lib/ostiary/audit.jsonl', 'utf8');

/** By a session's socket: the status of the answer, or the code of the error. */
const KNOCK = `require('http').get({ socketPath: process.argv[1], path: '/mcp/github' }, ({ statusCode }) =>
  console.log('knocked', statusCode)).on('error', ({ code }) => console.log('knocked', code))`;
const knock = (socket) => `node -e "${KNOCK.replaceAll('"', '\\"')}" ${socket}`;

const [setUp, keyCommands, keeperCommands, start] = blocks('Set up', 'sh');
const [config] = blocks('Set up', 'yaml');
const [use] = blocks('Use', 'sh');
const keeperFunction = keeperCommands.slice(0, keeperCommands.indexOf('\n}\n') + 3);
const keeper = (commands, answers) => typed(`set -e\n${keeperFunction}${commands}`, answers);

function writeConfig(text) {
  writeFileSync('/etc/ostiary/config.yaml', text);
  must(spawnSync('chown', ['root:ostiary', '/etc/ostiary/config.yaml']));
  must(spawnSync('chmod', ['0640', '/etc/ostiary/config.yaml']));
}

/** What the upstream says of itself through the proxy. */
async function me(user) {
  const output = must(await as(user, use));
  const { answer } = JSON.parse(/^\{.*\}$/m.exec(output)?.[0] ?? assert.fail(output));
  const facts = JSON.parse(answer.content[0].text);
  assert.equal(facts.digest, digest, 'it has the secret');
  return facts;
}

async function preparation() {
  // What nspawn covers of /proc keeps bubblewrap from mounting one; on a host nothing is covered.
  if (isContainer) must(await root('mount -t proc proc /proc'));
  must(
    await root('for user in alice bob mallory carol; do useradd --create-home --shell /bin/bash $user; done'),
  );
  const version = async (command) => (await root(command)).output.split('\n')[0].trim();
  say(
    `      ${await version('systemctl --version')}, Linux ${await version('uname -r')}, Node ${process.version}, ${isContainer ? 'systemd-nspawn' : 'QEMU'}`,
  );
}

async function setUpAsDocumented() {
  await check('service install --system, systemd-sysusers', async () => {
    const lines = setUp.split('\n').filter((line) => !line.startsWith('npm install'));
    matches(must(await root(lines.join('\n'))), /^next: systemctl enable --now ostiary$/m);
  });
  await check('the key of the vault, by systemd-creds', async () => void must(await root(keyCommands)));
  await check('vault and secrets, by keeper', async () => {
    writeConfig(config);
    matches(must(await typed(keeperCommands, [canary, canary])), /vault:github may go to github/);
  });
  await check('systemctl enable --now: active, of type notify', async () => {
    must(await root(start));
    assert.deepEqual(['Type', 'ActiveState', 'UnitFileState'].map(show), ['notify', 'active', 'enabled']);
  });
}

async function unitInForce() {
  await check('status: hardening of daemon and upstream all in force', async () => {
    const status = must(await keeper('keeper status'));
    matches(status, /daemon: all in force/);
    matches(status, / hardening: all in force/);
  });
  await check('no privilege, no core dump, no swap, a keyring of its own', async () => {
    const status = readFileSync(`/proc/${mainPid()}/status`, 'utf8');
    for (const line of [/^CapEff:\s0+$/m, /^CapBnd:\s0+$/m, /^NoNewPrivs:\s1$/m, /^Seccomp:\s2$/m])
      matches(status, line);
    matches(readFileSync(`/proc/${mainPid()}/limits`, 'utf8'), /^Max core file size +0 +0 /m);
    assert.deepEqual(['KeyringMode', 'MemorySwapMax'].map(show), ['private', '0']);
    const swap = `/sys/fs/cgroup${show('ControlGroup')}/memory.swap.max`;
    if (!existsSync(swap)) return 'here without a memory controller';
    assert.equal(readFileSync(swap, 'utf8').trim(), '0');
  });
  await check('systemd-analyze security', async () => {
    const output = must(await root('systemd-analyze security --no-pager ostiary'));
    const [level] = /\d+\.\d \w+/.exec(output.slice(output.indexOf('Overall'))) ?? assert.fail(output);
    assert.ok(Number.parseFloat(level) < 4, level);
    return level;
  });
}

async function agents() {
  await check(
    'alice: her agent uses the upstream, which runs as ostiary in a namespace of its own',
    async () => {
      const { uid, processes, state, credentials } = await me('alice');
      assert.deepEqual([uid, state, credentials], [uidOf('ostiary'), [], []]);
      assert.ok(processes < 5, `${processes} processes`);
    },
  );
  await check('alice: a token that the upstream gives away is redacted', async () => {
    matches(must(await as('alice', `${use.trim()} get_token`)), /\[redacted vault:github\]/);
  });
  await check(
    'profiles: create_issue by the one that names alice, not by default, and not for bob',
    async () => {
      const create = `${use.trim()} create_issue`;
      const maintain = create.replace('run ', 'run --profile maintainer ');
      matches(must(await as('alice', maintain)), /"created"/);
      matches(must(await as('alice', create), 1), /no rule allows it/);
      must(await root('usermod -aG ostiary-agents bob'));
      matches(must(await as('bob', maintain), 2), /maintainer/);
    },
  );
  await check('mallory: shut out, and in the group cut off and recorded', async () => {
    matches(must(await as('mallory', use), 4), /EACCES/);
    must(await root('usermod -aG ostiary-agents mallory'));
    matches(must(await as('mallory', use), 4), /listen\.allow_uids/);
    const record = new RegExp(`"peer.refused".*"uid":${uidOf('mallory')},`);
    await eventually('its record', () => record.test(audit()));
  });
  await check('alice: See for yourself', async () => {
    const [commands] = blocks('See for yourself', 'sh');
    const { output } = await as('alice', commands);
    assert.equal(output.match(/permission denied$/gim)?.length, 4, output);
    matches(output, /OSTIARY_SOCKET=/);
    assert.ok(!output.includes('void'), output);
  });
  await check('alice: no credential, no journal, no configuration, no restart', async () => {
    const { output } = await as(
      'alice',
      `ls /run/credentials/ostiary.service; cat /etc/ostiary/config.yaml; cat /proc/${mainPid()}/mem
      journalctl -q -u ostiary; systemctl --no-ask-password restart ostiary`,
    );
    assert.equal(output.match(/permission denied$/gim)?.length, 3, output);
    matches(output, /Access denied|authentication required/i);
    assert.ok(!/ready/.test(output), output);
  });
}

const UP = '/home/alice/project/up';
/** An agent that tells of itself, waits for a line, and then uses its session. */
const WAITS = `sh -c 'echo "$OSTIARY_SOCKET $$" > up; read line < down; claude - - "$OSTIARY_MCP_CONFIG"'`;

/** One that has started, from without: its socket and its process. */
async function waiting(options) {
  must(await as('alice', 'rm -f up down; mkfifo up down'));
  const run = use.trim().replace(/-- .*/, () => `${options} -- ${WAITS}`);
  const ended = as('alice', run);
  const told = root(`cat ${UP}`);
  const first = await Promise.race([told, ended]);
  const [socket, pid] = must(first).trim().split(' ');
  const goOn = async () => {
    must(await as('alice', 'echo > down'));
    return must(await ended);
  };
  return { socket, pid, session: dirname(socket).split('/').at(-1), goOn };
}

async function bindings() {
  await check('run --http: by token and uid on loopback', async () => {
    const run = use.trim().replace('run ', 'run --http ').replace(/-- .*/, '-- node /boot-unit/by-http.mjs');
    matches(must(await as('alice', run)), /answered 200/);
  });

  await check('run binds: outside, alice herself is refused, and it is recorded', async () => {
    const { socket, session, goOn } = await waiting('');
    matches(must(await as('alice', knock(socket))), /knocked 403/);
    matches(await goOn(), /digest/);
    matches(audit(), new RegExp(`"session.bound","session":"${session}"`));
    const record = new RegExp(`"binding.refused".*"session":"${session}"`);
    await eventually('its record', () => record.test(audit()));
  });
  await check('session bind --kind cgroup, by hand: inside used, outside refused', async () => {
    const { socket, pid, session, goOn } = await waiting('--isolation none');
    const [socketOption] = / --daemon \S+/.exec(use);
    must(await as('alice', `ostiary session bind ${session} ${pid} --kind cgroup ${socketOption}`));
    matches(must(await keeper('keeper session list')), /and cgroup \d+/);
    matches(must(await as('alice', knock(socket))), /knocked 403/);
    matches(await goOn(), /digest/);
  });
}

async function ends() {
  await check('killed, it is started again', async () => {
    must(await root(`kill -9 ${mainPid()}`));
    await eventually('a new one', () => show('NRestarts') === '1' && show('ActiveState') === 'active');
    assert.equal((await me('alice')).uid, uidOf('ostiary'));
  });
  await check('stopped, it leaves nothing, though an agent is at work', async () => {
    const { goOn } = await waiting('');
    must(await root('systemctl stop ostiary'));
    await assert.rejects(goOn(), ({ output }) => /the daemon ended/.test(output));
    assert.deepEqual(
      [processesOf('ostiary'), show('ActiveState'), show('Result')],
      ['', 'inactive', 'success'],
    );
    for (const path of ['/run/ostiary', '/run/ostiary-agents', '/run/credentials/ostiary.service'])
      assert.ok(!existsSync(path), path);
  });
}

async function ownUsers() {
  const [yaml] = blocks('An own user for each upstream', 'yaml');
  const dropIns = blocks('An own user for each upstream', 'ini');
  const [commands] = blocks('An own user for each upstream', 'sh');
  const [runAs] = /^ {4}run_as: .*\n/m.exec(yaml);
  await check('run_as and its drop-ins: the daemon as root, with five capabilities', async () => {
    writeConfig(config.replace(/^ {4}args: .*\n/m, (args) => `${args}${runAs}`));
    must(await root('mkdir -p /etc/systemd/system/ostiary.service.d'));
    writeFileSync('/etc/systemd/system/ostiary.service.d/override.conf', dropIns.join('\n'));
    // `systemctl edit` opens an editor; the file is what it leaves.
    matches(
      must(await keeper(commands.replace(/^systemctl edit .*$/m, 'systemctl daemon-reload'), ['y'])),
      /as mcp-github/,
    );
    const status = readFileSync(`/proc/${mainPid()}/status`, 'utf8');
    for (const line of [/^Uid:\s0\s/m, /^CapEff:\s0+e3$/m, /^NoNewPrivs:\s1$/m]) matches(status, line);
  });
  await check(
    'run_as: alice uses the upstream, which is of another user and sees nothing of ours',
    async () => {
      const { uid, groups, capabilities, state, credentials } = await me('alice');
      assert.deepEqual([uid, groups.length, Number(capabilities)], [uidOf('mcp-github'), 1, 0]);
      assert.deepEqual([state, credentials], ['EACCES', 'EACCES']);
    },
  );
  await check('run_as: run binds here too', async () => {
    const { socket, goOn } = await waiting('');
    matches(must(await as('alice', knock(socket))), /knocked 403/);
    matches(await goOn(), /digest/);
  });
}

async function userUnit() {
  await check('service install --user: carol, who lingers, has a daemon of her own', async () => {
    must(await root('loginctl enable-linger carol && systemctl start user@$(id -u carol)'));
    const configured = config.replace(/^listen:\n(?: .*\n)*/m, '').replace(/^ {2}maintainer:(?:.*\n)*/m, '');
    must(
      await as(
        'carol',
        `umask 077; mkdir -p ~/.config/ostiary; cat > ~/.config/ostiary/config.yaml <<'E'\n${configured}E`,
      ),
    );
    const child = loggedIn('carol', 'ostiary secret set github');
    child.stdin.end(`${canary}\n`);
    must(await finished(child));
    const installed = must(await as('carol', 'ostiary service install --user'));
    for (const [, next] of installed.matchAll(/^next: (.*)$/gm)) must(await as('carol', next));
    matches(must(await as('carol', 'systemctl --user show -P ActiveState ostiary')), /^active$/m);
    matches(must(await as('carol', 'ostiary status')), /daemon: all in force/);
    matches(must(await as('carol', use.replace(/ --daemon \S+/, ''))), new RegExp(digest));
    must(await as('carol', 'systemctl --user stop ostiary && ostiary service uninstall --user'));
    assert.ok(!processesOf('carol').includes('ostiary'), processesOf('carol'));
  });
}

async function remains() {
  await check('service uninstall --system', async () => {
    must(await root('systemctl disable --now ostiary && ostiary service uninstall --system'));
    assert.ok(!existsSync('/etc/systemd/system/ostiary.service'));
  });
  await check('the secret is in no output, journal or file', async () => {
    assert.ok(!printed.includes(canary), 'output');
    const journal = spawnSync('journalctl', ['-a', '-o', 'export'], { maxBuffer: 2 ** 30 });
    assert.ok(journal.stdout.includes('ostiary') && !journal.stdout.includes(canary), 'journal');
    const places = ['/etc', '/home', '/root', '/run', '/tmp', '/var'];
    const { stdout } = spawnSync('grep', ['-rslFf', '-', '--devices=skip', ...places], { input: canary });
    assert.equal(String(stdout), '');
  });
}

await preparation();
for (const part of [setUpAsDocumented, unitInForce, agents, bindings, ends, ownUsers, userUnit, remains])
  await part();
say(failed === 0 ? 'done' : `done, ${failed} failed`);
// What a check that failed has left running is not waited for.
process.exit();
