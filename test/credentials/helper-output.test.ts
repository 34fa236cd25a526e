/** The formats, by the examples of their own documentation. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { HelperFormat } from '../../src/credentials/helper-format.ts';
import { helperInput } from '../../src/credentials/helper-input.ts';
import { parseOutput, WrongOutput } from '../../src/credentials/helper-output.ts';
import { jwt } from './helpers-support.ts';

function parse(format: HelperFormat, printed: string | object) {
  const text = typeof printed === 'string' ? printed : JSON.stringify(printed);
  const { fields, ...times } = parseOutput(format, Buffer.from(text));
  return {
    ...times,
    fields: Object.fromEntries([...fields].map(([name, value]) => [name, value.toString()])),
  };
}

function wrong(format: HelperFormat, printed: string | object, message: string): void {
  assert.throws(
    () => parse(format, printed),
    (error) => {
      assert.ok(error instanceof WrongOutput, String(error));
      assert.equal(error.message, message);
      return true;
    },
  );
}

const never = { expiresAt: null, refreshAfter: null };
const at = Date.parse('2026-01-02T03:04:05Z');

test('raw: the bytes as they are', () => {
  assert.deepEqual(parse('raw', 'canary \n'), { ...never, fields: { value: 'canary \n' } });
  const bytes = Buffer.from([0, 0xff]);
  assert.deepEqual(parseOutput('raw', bytes).fields.get('value'), bytes);
});

test('a JWT says when it expires, in whatever format it comes; what only looks like one says nothing', () => {
  const token = jwt({ exp: at / 1000 });
  for (const printed of [token, `${token}\n`, `${token}\r\n`])
    assert.equal(parse('raw', printed).expiresAt, at);
  assert.equal(parse('docker', { Username: 'u', Secret: token }).expiresAt, at);
  assert.equal(parse('git', `password=${token}\n`).expiresAt, at);
  assert.equal(
    parse('json', { value: token, expiresAt: '2030-01-01T00:00:00Z' }).expiresAt,
    at,
    'the earlier',
  );
  assert.equal(parse('raw', jwt({ exp: 1.5 })).expiresAt, 1500);
  for (const none of [
    jwt({}),
    jwt({ exp: String(at / 1000) }),
    jwt({ exp: 1e300 }),
    jwt({ exp: -1 }),
    `${token}.x`,
    `x ${token}`,
    'a.b.c',
    `${Buffer.from('{"alg":"none"}').toString('base64url')}.bm8.x`,
    `${Buffer.from('[]').toString('base64url')}.${Buffer.from('{"exp":1}').toString('base64url')}.x`,
  ])
    assert.equal(parse('raw', none).expiresAt, null);
});

test('json: one value or several, times that are times, nothing else', () => {
  assert.deepEqual(parse('json', { value: 'canary-é' }), { ...never, fields: { value: 'canary-é' } });
  assert.deepEqual(parse('json', { fields: { 'a.b': 'canary-1', c: 'canary-2' }, expiresAt: null }), {
    ...never,
    fields: { 'a.b': 'canary-1', c: 'canary-2' },
  });
  const times = { expiresAt: '2026-01-02T04:04:05.500+01:00', refreshAfter: '2026-01-02T03:00:00Z' };
  assert.deepEqual(parse('json', { value: 'canary', ...times }), {
    fields: { value: 'canary' },
    expiresAt: at + 500,
    refreshAfter: Date.parse('2026-01-02T03:00:00Z'),
  });
  wrong('json', {}, 'expected either value or fields, got neither');
  wrong('json', { value: 'a', fields: {} }, 'expected either value or fields, got both');
  wrong('json', { value: 7 }, 'value: expected text, got a number');
  wrong('json', { value: '' }, 'value: expected text, got empty text');
  wrong('json', { fields: ['a'] }, 'fields: expected a map, got a list');
  for (const fields of [{}, { 'a b': 'c' }])
    wrong(
      'json',
      { fields },
      'fields: expected names of up to 64 letters, digits, _ . -, got another or none',
    );
  wrong('json', { fields: { a: true } }, 'fields.…: expected text, got a boolean');
  for (const time of ['2026-01-02', '2026-01-02T03:04:05', '2026-13-02T03:04:05Z', '1', ''])
    assert.throws(() => parse('json', { value: 'a', expiresAt: time }), /^Error: expiresAt: expected a time/);
  const late = 'refreshAfter: expected a time before that of expiresAt';
  wrong('json', { value: 'a', refreshAfter: '2026-01-02T03:04:05Z' }, late);
  wrong(
    'json',
    { value: 'a', expiresAt: '2026-01-02T03:04:05Z', refreshAfter: '2026-01-02T03:04:06Z' },
    late,
  );
});

test('aws: credential_process, with and without a session', () => {
  const keys = { Version: 1, AccessKeyId: 'canary-id', SecretAccessKey: 'canary-key' };
  const { Version, ...fields } = keys;
  assert.deepEqual(parse('aws', keys), { ...never, fields });
  assert.deepEqual(
    parse('aws', {
      ...keys,
      SessionToken: 'canary-token',
      Expiration: '2026-01-02T03:04:05Z',
      AccountId: '1',
    }),
    { expiresAt: at, refreshAfter: null, fields: { ...fields, SessionToken: 'canary-token' } },
  );
  wrong('aws', { ...keys, Version: '1' }, 'Version: expected 1, got other text');
  wrong('aws', { ...keys, SecretAccessKey: undefined }, 'SecretAccessKey: expected text, got nothing');
  wrong('aws', { ...keys, SessionToken: {} }, 'SessionToken: expected text, got a map');
  wrong(
    'aws',
    { ...keys, Expiration: 1767323045 },
    'Expiration: expected a time such as 2026-01-02T03:04:05Z, got a number',
  );
});

test('exec-credential: a token, a certificate with its key, or both', () => {
  const head = { apiVersion: 'client.authentication.k8s.io/v1', kind: 'ExecCredential' };
  const pair = { clientCertificateData: 'canary-cert\n', clientKeyData: 'canary-key\n' };
  const status = { token: 'canary-token', expirationTimestamp: '2026-01-02T03:04:05Z' };
  assert.deepEqual(parse('exec-credential', { ...head, spec: { interactive: false }, status }), {
    expiresAt: at,
    refreshAfter: null,
    fields: { token: 'canary-token' },
  });
  assert.deepEqual(parse('exec-credential', { ...head, status: { ...pair, expirationTimestamp: null } }), {
    ...never,
    fields: pair,
  });
  wrong('exec-credential', { ...head, kind: 'x' }, 'kind: expected ExecCredential, got other text');
  wrong('exec-credential', head, 'status: expected a map, got nothing');
  wrong('exec-credential', { ...head, status: {} }, 'status.token: expected text, got nothing');
  wrong('exec-credential', { ...head, status: { token: 1 } }, 'status.token: expected text, got a number');
  const half = 'status: expected both or neither of clientCertificateData and clientKeyData, got one';
  wrong('exec-credential', { ...head, status: { clientKeyData: 'x' } }, half);
});

test('docker: a secret and whose it is', () => {
  const printed = { ServerURL: 'https://index.docker.io/v1/', Username: 'david', Secret: 'canary-secret' };
  assert.deepEqual(parse('docker', printed), {
    ...never,
    fields: { Username: 'david', Secret: 'canary-secret' },
  });
  assert.deepEqual(parse('docker', { Username: '', Secret: 'canary' }).fields, { Secret: 'canary' });
  wrong('docker', { Username: '', Secret: '' }, 'Secret: expected text, got empty text');
  wrong('docker', { Username: 'david' }, 'Secret: expected text, got nothing');
  wrong(
    'docker',
    'credentials not found in native keychain\n',
    'expected JSON, got 41 bytes of something else',
  );
});

test('git: attributes, in any order, until a blank line', () => {
  const printed =
    'protocol=https\nhost=example.com\nusername=bob\npassword=canary=s3cre7\npassword_expiry_utc=1767323045\n';
  assert.deepEqual(parse('git', printed), {
    expiresAt: at,
    refreshAfter: null,
    fields: { username: 'bob', password: 'canary=s3cre7' },
  });
  assert.deepEqual(parse('git', 'password=canary-é\n\npassword=other\n').fields, { password: 'canary-é' });
  wrong('git', 'username=bob\n', 'password: expected text, got nothing');
  wrong('git', 'username=bob\npassword=\n', 'password: expected text, got nothing');
  wrong('git', 'canary\n', 'expected lines of the form key=value, got another');
  wrong(
    'git',
    'password=a\npassword_expiry_utc=soon\n',
    'password_expiry_utc: expected seconds since 1970, got other text',
  );
});

test('no output, of whatever format, makes a parser fail otherwise or repeat what it read', () => {
  const formats = ['raw', 'json', 'aws', 'exec-credential', 'docker', 'git'] as const;
  const keys = [
    'value',
    'fields',
    'expiresAt',
    'Version',
    'AccessKeyId',
    'status',
    'token',
    'Secret',
    'kind',
    '__proto__',
  ];
  const leaf = fc.oneof(fc.constant('canary-leaf'), fc.integer(), fc.constant(null), fc.boolean());
  const tree = fc.letrec((tie) => ({
    node: fc.oneof(
      leaf,
      fc.array(tie('node')),
      fc.dictionary(fc.oneof(fc.constantFrom(...keys), fc.constant('canary-key')), tie('node')),
    ),
  })).node;
  const printed = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    tree.map((value) => Buffer.from(JSON.stringify(value))),
  );
  fc.assert(
    fc.property(fc.constantFrom(...formats), printed, (format, bytes) => {
      try {
        const { fields } = parseOutput(format, Buffer.from(bytes));
        for (const value of fields.values()) assert.ok(Buffer.isBuffer(value));
      } catch (error) {
        assert.ok(error instanceof WrongOutput, String(error));
        assert.ok(!error.message.includes('canary'));
      }
    }),
    { numRuns: 1000 },
  );
});

test('input: what each format tells its helper', () => {
  for (const format of ['raw', 'json', 'aws'] as const)
    assert.deepEqual(helperInput({ format }), { stdin: null, env: {} });
  assert.deepEqual(helperInput({ format: 'docker', registry: 'ghcr.io' }), { stdin: 'ghcr.io\n', env: {} });
  const info = (server: string | null): unknown =>
    JSON.parse(helperInput({ format: 'exec-credential', server }).env.KUBERNETES_EXEC_INFO ?? '');
  const head = { apiVersion: 'client.authentication.k8s.io/v1', kind: 'ExecCredential' };
  assert.deepEqual(info(null), { ...head, spec: { interactive: false } });
  const cluster = { server: 'https://10.0.0.1:6443' };
  assert.deepEqual(info(cluster.server), { ...head, spec: { cluster, interactive: false } });
  const git = (url: string): string | null => helperInput({ format: 'git', url }).stdin;
  assert.equal(git('https://github.com'), 'protocol=https\nhost=github.com\n\n');
  assert.equal(
    git('https://me%40x@git.example:8443/a%20b/c.git'),
    'protocol=https\nhost=git.example:8443\npath=a b/c.git\nusername=me@x\n\n',
  );
  // The configuration refuses it; here it must not pass either (CVE-2020-5260).
  assert.throws(() => git('https://git.example/%0ahost=other.example'), /passed the checks/);
});
