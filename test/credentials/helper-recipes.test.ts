/**
 * The recipes of docs/helpers.md as they stand there: with the real tool where it is a package of Debian's
 * (`scripts/test-packages.txt`), else with the output that the tool's documentation shows.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { parseConfig } from '../../src/config/load.ts';
import type { HelperConfig } from '../../src/config/types.ts';
import { packageRoot } from '../../src/paths.ts';
import { jwt, Rig, ref, script } from './helpers-support.ts';
import { canary, directory, fails } from './support.ts';

const page = readFileSync(join(packageRoot, 'docs', 'helpers.md'), 'utf8');
const blocks = (language: string): string[] =>
  [...page.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map(
    ([, block]) => block as string,
  );

const recipes = new Map<string, HelperConfig>();
for (const text of blocks('yaml'))
  for (const [name, helper] of parseConfig(text, 'docs/helpers.md').helpers) recipes.set(name, helper);

function recipe(name: string, home = '/home/me'): HelperConfig {
  const found = recipes.get(name);
  assert.ok(found !== undefined, `no recipe ${name}`);
  return { ...found, command: found.command.map((word) => word.replace('/home/me', home)) };
}

/** A home directory with a short path: GnuPG's socket lies in it. */
function homeOf(t: TestContext): string {
  const home = mkdtempSync('/tmp/oh-');
  t.after(() => rmSync(home, { recursive: true, force: true }));
  return home;
}

function tool(home: string, command: readonly string[], input = ''): string {
  const [file, ...args] = command;
  const { status, stdout, stderr, error } = spawnSync(file as string, args, {
    input,
    encoding: 'utf8',
    cwd: home,
    timeout: 60_000,
    env: { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: home },
  });
  assert.equal(status, 0, `${file}: ${error?.message ?? stderr}`);
  return stdout;
}

function missing(...files: readonly string[]): string | false {
  const absent = files.filter((file) => !existsSync(file));
  return absent.length > 0 && `needs ${absent.join(', ')}`;
}

/** A key without a passphrase, and a password store that is encrypted to it. */
function passwordStore(t: TestContext, home: string): void {
  mkdirSync(join(home, '.gnupg'), { mode: 0o700 });
  t.after(() => spawnSync('gpgconf', ['--homedir', join(home, '.gnupg'), '--kill', 'all']));
  const quick = ['--quick-generate-key', 'canary@example.com', 'future-default', 'default', 'never'];
  tool(home, ['gpg', '--batch', '--quiet', '--passphrase', '', ...quick]);
  tool(home, ['pass', 'init', 'canary@example.com']);
}

describe('with the real tool', () => {
  test('pass', { skip: missing('/usr/bin/pass', '/usr/bin/gpg') }, async (t) => {
    const [home, value] = [homeOf(t), canary()];
    passwordStore(t, home);
    tool(home, ['pass', 'insert', '--multiline', 'mcp/notion'], `${value}\n`);
    const rig = new Rig(t, { h: recipe('pass') }, { env: { HOME: home } });
    assert.equal(await rig.text(ref('h')), value);
    tool(home, ['pass', 'rm', '--force', 'mcp/notion']);
    await fails(
      () => rig.broker.acquire(ref('h')),
      'credential',
      /^command:h: the helper exited with code 1; /,
    );
  });

  test('age', { skip: missing('/usr/bin/age', '/usr/bin/age-keygen') }, async (t) => {
    const [home, value] = [homeOf(t), canary()];
    for (const name of ['age', 'mcp']) mkdirSync(join(home, '.config', name), { recursive: true });
    const key = join(home, '.config/age/key.txt');
    tool(home, ['age-keygen', '-o', key]);
    const recipient = tool(home, ['age-keygen', '-y', key]).trim();
    tool(home, ['age', '-r', recipient, '-o', join(home, '.config/mcp/notion.age')], `${value}\n`);
    const rig = new Rig(t, { h: recipe('age', home) }, { env: { HOME: home } });
    assert.equal(await rig.text(ref('h')), value);
  });

  test('git credential-store', { skip: missing('/usr/bin/git') }, async (t) => {
    const [home, value] = [homeOf(t), canary()];
    tool(home, ['git', 'config', '--global', 'credential.helper', 'store']);
    const input = `protocol=https\nhost=git.example\nusername=me\npassword=${value}\n\n`;
    tool(home, ['git', 'credential', 'approve'], input);
    const store = { ...recipe('git'), command: ['/usr/bin/git', 'credential-store', 'get'] };
    const other = { ...recipe('git'), ask: { format: 'git', url: 'https://other.example' } } as const;
    const rig = new Rig(t, { fill: recipe('git'), store, other }, { env: { HOME: home } });
    for (const name of ['fill', 'store']) {
      assert.equal(await rig.text(ref(name)), value);
      assert.equal(await rig.text(ref(name, 'username')), 'me');
    }
    // It would ask a person now; there is none, and no terminal to ask at.
    await fails(
      () => rig.broker.acquire(ref('other')),
      'credential',
      /^command:other: the helper exited with code 128; /,
    );
  });

  const docker = '/usr/bin/docker-credential-pass';
  test('docker-credential-pass', { skip: missing(docker, '/usr/bin/pass', '/usr/bin/gpg') }, async (t) => {
    const [home, value] = [homeOf(t), canary()];
    passwordStore(t, home);
    const stored = { ServerURL: 'registry.example', Username: 'me', Secret: value };
    tool(home, [docker, 'store'], JSON.stringify(stored));
    const other = { ...recipe('registry'), ask: { format: 'docker', registry: 'other.example' } } as const;
    const rig = new Rig(t, { h: recipe('registry'), other }, { env: { HOME: home } });
    assert.equal(await rig.text(ref('h')), value);
    assert.equal(await rig.text(ref('h', 'Username')), 'me');
    // Older ones print an empty secret, newer ones that they found nothing.
    await fails(
      () => rig.broker.acquire(ref('other')),
      'credential',
      /format docker: Secret: expected text, got empty text$|exited with code 1/,
    );
  });

  test('the script for leased credentials of Vault, with the real jq', {
    skip: missing('/usr/bin/jq'),
  }, async (t) => {
    const path = directory(t);
    // https://developer.hashicorp.com/vault/docs/secrets/databases#usage
    const printed = {
      request_id: '7c4c2b5a',
      lease_id: 'database/creds/agents/2f6a614c',
      lease_duration: 3600,
      renewable: true,
      data: { password: 'canary-SsnoaA-8Tv4t34f41baD', username: 'v-vaultuse-my-role-x' },
    };
    writeFileSync(join(path, 'vault'), `#!/bin/sh\ncat <<'END'\n${JSON.stringify(printed)}\nEND\n`, {
      mode: 0o755,
    });
    const text = blocks('sh').find((block) => block.includes('/usr/bin/jq'));
    assert.ok(text !== undefined);
    const file = join(path, 'vault-database');
    writeFileSync(file, text.replace('/usr/bin/vault', join(path, 'vault')), { mode: 0o700 });
    const rig = new Rig(t, { h: { ...recipe('vault-database'), command: [file] } });
    assert.equal(await rig.text(ref('h', 'password')), printed.data.password);
    const kept = await rig.broker.acquire(ref('h', 'password'));
    rig.seconds = 3000;
    assert.equal(rig.broker.isDue(kept), false);
    rig.seconds = 3601;
    assert.equal(rig.broker.isDue(kept), true);
  });

  test('the script for Bitwarden: the session key is neither an argument nor a setting', async (t) => {
    const [home, session, value] = [homeOf(t), canary(), canary()];
    const text = blocks('sh').find((block) => block.includes('BW_SESSION'));
    assert.ok(text !== undefined);
    writeFileSync(join(home, '.bw-session'), `${session}\n`, { mode: 0o600 });
    const answer = `[ "$BW_SESSION" = "$(cat ~/.bw-session)" ] && [ "$*" = "get password notion" ] && printf %s ${value}`;
    writeFileSync(join(home, 'bw'), `#!/bin/sh\n${answer}\n`, { mode: 0o755 });
    const { command } = recipe('bw', home);
    mkdirSync(join(home, 'bin'));
    writeFileSync(command[0] as string, text.replace('/usr/local/bin/bw', join(home, 'bw')), { mode: 0o700 });
    const rig = new Rig(t, { h: recipe('bw', home) }, { env: { HOME: home } });
    assert.equal(await rig.text(ref('h')), value);
  });
});

describe('with the documented output', () => {
  /** Of a moment that is yet to come, as seen by the test. */
  const later = new Date(Math.floor(Date.now() / 1000 + 3600) * 1000);
  const seconds = later.toISOString().replace('.000Z', 'Z');
  const token = jwt({ aud: 'https://management.core.windows.net/', exp: later.getTime() / 1000 });
  const exec = {
    kind: 'ExecCredential',
    apiVersion: 'client.authentication.k8s.io/v1',
    spec: { interactive: false },
    status: { expirationTimestamp: seconds, token: 'k8s-aws-v1.canary-aHR0cHM' },
  };
  const aws = {
    Version: 1,
    AccessKeyId: 'ASIACANARYEXAMPLE',
    SecretAccessKey: 'canary/wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
    SessionToken: 'canary+FwoGZXIvYXdzEXAMPLE==',
    Expiration: seconds.replace('Z', '+00:00'),
  };
  const cases: Readonly<
    Record<string, { printed: string; fields: Readonly<Record<string, string>>; ends: boolean }>
  > = {
    op: { printed: 'canary-op-read', fields: { '': 'canary-op-read' }, ends: true },
    bw: { printed: 'canary-bw', fields: { '': 'canary-bw' }, ends: false },
    'vault-kv': { printed: 'canary-hvs\n', fields: { '': 'canary-hvs' }, ends: true },
    gcloud: { printed: 'ya29.canary-a0AfH6SMA\n', fields: { '': 'ya29.canary-a0AfH6SMA' }, ends: true },
    gh: {
      printed: 'gho_canary16C7e42F292c6912E7710c838347Ae178B4a\n',
      fields: { '': 'gho_canary16C7e42F292c6912E7710c838347Ae178B4a' },
      ends: false,
    },
    az: { printed: `${token}\n`, fields: { '': token }, ends: true },
    kube: {
      printed: `${JSON.stringify(exec, null, 4)}\n`,
      fields: { '': exec.status.token, token: exec.status.token },
      ends: true,
    },
    aws: {
      printed: `${JSON.stringify(aws, null, 2)}\n`,
      fields: {
        AccessKeyId: aws.AccessKeyId,
        SecretAccessKey: aws.SecretAccessKey,
        SessionToken: aws.SessionToken,
      },
      ends: true,
    },
  };
  for (const [name, { printed, fields, ends }] of Object.entries(cases))
    test(name, async (t) => {
      const { ask, ttlMs } = recipe(name);
      const rig = new Rig(t, { h: script('printf %s "$VALUE"', { VALUE: printed }, { ask, ttlMs }) });
      for (const [field, value] of Object.entries(fields))
        assert.equal(await rig.text(field === '' ? ref('h') : ref('h', field)), value);
      const kept = await rig.broker.acquire(
        ref(
          'h',
          Object.keys(fields).find((field) => field !== ''),
        ),
      );
      rig.seconds = 3601;
      assert.equal(rig.broker.isDue(kept), ends);
    });

  test('every recipe is here or above', () => {
    const real = ['pass', 'age', 'git', 'registry', 'vault-database'];
    assert.deepEqual([...recipes.keys()].sort(), [...Object.keys(cases), ...real].sort());
  });
});
