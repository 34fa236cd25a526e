import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reveal } from '../../src/credentials/reveal.ts';
import { Secret } from '../../src/credentials/secret.ts';
import { Failure } from '../../src/errors.ts';
import {
  decodedSecrets,
  derivedSecrets,
  injectEnvironment,
  injectHeaders,
} from '../../src/upstreams/inject.ts';

const canary = 'canary-6f1f7c';

function seal(value: string | number[], label = 'vault:notion'): Secret {
  return Secret.seal(label, Buffer.from(value as string));
}

function refusal(run: () => unknown): Failure {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof Failure);
    return error;
  }
  assert.fail('not refused');
}

test('secrets win over literals of other names, literals over the base', () => {
  const shared = seal(canary);
  const { env, labels } = injectEnvironment(
    { PATH: '/usr/bin', TOKEN: 'base', A: 'base' },
    { A: 'literal', B: '' },
    { TOKEN: shared, SAME: shared, KEY: seal('ключ\n😀', 'env:KEY') },
  );
  assert.deepEqual(env, {
    PATH: '/usr/bin',
    A: 'literal',
    B: '',
    TOKEN: canary,
    SAME: canary,
    KEY: 'ключ\n😀',
  });
  assert.deepEqual(labels, ['vault:notion', 'env:KEY']);
});

test('a byte order mark is part of the secret', () => {
  const { env } = injectEnvironment({}, {}, { T: seal([0xef, 0xbb, 0xbf, 0x61]) });
  assert.deepEqual(Buffer.from(env.T ?? ''), Buffer.from([0xef, 0xbb, 0xbf, 0x61]));
});

test('a secret that cannot be a variable is refused by label and variable, without its value', () => {
  const nul = refusal(() => injectEnvironment({}, {}, { TOKEN: seal(`${canary}\0tail`) }));
  const binary = refusal(() =>
    injectEnvironment({}, {}, { TOKEN: seal([...Buffer.from(canary), 0xff, 0xfe, 0xc0, 0x80]) }),
  );
  for (const failure of [nul, binary]) {
    assert.equal(failure.kind, 'credential');
    assert.match(failure.message, /vault:notion .*TOKEN/);
    assert.doesNotMatch(`${failure.message}${failure.hint}${failure.stack}`, new RegExp(canary));
  }
  assert.match(nul.message, /NUL/);
  assert.match(binary.message, /UTF-8/);
});

test('a variable that is both literal and secret is refused', () => {
  const failure = refusal(() => injectEnvironment({}, { TOKEN: 'literal' }, { TOKEN: seal(canary) }));
  assert.match(failure.message, /TOKEN/);
  assert.doesNotMatch(failure.message, new RegExp(`${canary}|literal`));
});

test('names of Object.prototype are ordinary variables', () => {
  const secrets = Object.fromEntries([['__proto__', seal(canary)]]);
  const { env } = injectEnvironment({}, {}, secrets);
  assert.deepEqual(Object.entries(env), [['__proto__', canary]]);
  assert.equal(injectEnvironment({}, {}, { constructor: seal(canary) }).env.constructor, canary);
});

test('headers: literals, secrets and the bearer, each under its own name', () => {
  const { headers, labels } = injectHeaders(
    { 'X-Team': 'blue' },
    { 'X-Key': seal(canary), Cookie: seal('café=1', 'env:COOKIE') },
    { bearer: seal(canary, 'vault:door') },
  );
  assert.deepEqual(headers, {
    'X-Team': 'blue',
    'X-Key': canary,
    Cookie: 'café=1',
    Authorization: `Bearer ${canary}`,
  });
  assert.deepEqual(labels, ['vault:notion', 'env:COOKIE', 'vault:door']);
});

test('C1 a secret that would be more or less than one header value is refused, without its value', () => {
  const bad: [string | number[], RegExp][] = [
    [`${canary}\r\nX-Injected: 1`, /line break/],
    [`${canary}\n`, /line break/],
    [`${canary}\0`, /no header can hold/],
    [`${canary}\x1b[0m`, /no header can hold/],
    [`${canary}\x7f`, /no header can hold/],
    [`${canary}☃`, /no header can hold/],
    [` ${canary}`, /white space/],
    [`${canary}\t`, /white space/],
    [[...Buffer.from(canary), 0xff, 0xfe], /UTF-8/],
  ];
  for (const [value, expected] of bad)
    for (const run of [
      () => injectHeaders({}, { 'X-Key': seal(value) }),
      () => injectHeaders({}, {}, { bearer: seal(value) }),
    ]) {
      const failure = refusal(run);
      assert.equal(failure.kind, 'credential');
      assert.match(failure.message, expected);
      assert.match(failure.message, /vault:notion .*(?:X-Key|Authorization)/);
      assert.doesNotMatch(`${failure.message}${failure.hint}${failure.stack}`, new RegExp(canary));
    }
});

test('headers that are given twice, are the transport’s own or are none are refused', () => {
  const runs: [() => unknown, RegExp][] = [
    [() => injectHeaders({ 'x-key': 'a' }, { 'X-Key': seal(canary) }), /X-Key is given twice/],
    [
      () => injectHeaders({ authorization: 'a' }, {}, { bearer: seal(canary) }),
      /Authorization is given twice/,
    ],
    [
      () => injectHeaders({}, { AUTHORIZATION: seal(canary) }, { bearer: seal(canary) }),
      /Authorization is given twice/,
    ],
    [() => injectHeaders({ 'X Key': 'a' }, {}), /not the name of a header/],
    [() => injectHeaders({}, { 'X-Key\r\nX': seal(canary) }), /not the name of a header/],
    [() => injectHeaders({ 'X-Key': 'a\r\nb' }, {}), /X-Key contains a line break/],
    ...[
      'Host',
      'content-length',
      'Transfer-Encoding',
      'Connection',
      'Accept',
      'Mcp-Session-Id',
      'MCP-Protocol-Version',
      'Mcp-Param-Region',
      'Last-Event-ID',
    ].map((name): [() => unknown, RegExp] => [
      () => injectHeaders({}, { [name]: seal(canary) }),
      /by ostiary itself/,
    ]),
  ];
  for (const [run, expected] of runs) {
    const failure = refusal(run);
    assert.equal(failure.kind, 'config');
    assert.match(failure.message, expected);
    assert.doesNotMatch(`${failure.message}${failure.hint}${failure.stack}`, new RegExp(canary));
  }
});

test('templates and Basic compose a header; a secret is no pattern', () => {
  const odd = seal(`$&$1{}${canary}`);
  const { headers, labels } = injectHeaders(
    {},
    { 'X-Key': odd, 'X-Plain': seal(canary, 'env:PLAIN') },
    {
      templates: { 'X-Key': 'Token {}; v=1' },
      basic: { username: 'röbot', secret: seal('pä:ss', 'vault:door') },
    },
  );
  assert.deepEqual(headers, {
    'X-Key': `Token $&$1{}${canary}; v=1`,
    'X-Plain': canary,
    Authorization: `Basic ${Buffer.from('röbot:pä:ss').toString('base64')}`,
  });
  assert.deepEqual(labels, ['vault:notion', 'env:PLAIN', 'vault:door']);
});

test('a key is the user name of Basic, and has no password', () => {
  const composed = { basic: { username: null, secret: seal(canary) } };
  assert.deepEqual(injectHeaders({}, {}, composed).headers, {
    Authorization: `Basic ${Buffer.from(`${canary}:`).toString('base64')}`,
  });
  const derived = derivedSecrets({}, composed).map((one) => reveal(one, 'a test').toString());
  assert.deepEqual(derived, [Buffer.from(`${canary}:`).toString('base64'), `${canary}:`]);
  const colon = { basic: { username: null, secret: seal(`${canary}:x`) } };
  const failure = refusal(() => injectHeaders({}, {}, colon));
  assert.match(failure.message, /^vault:notion has a colon.*Authorization$/);
  assert.doesNotMatch(`${failure.message}${failure.stack}`, new RegExp(canary));
});

test('a password with control characters or other bytes than UTF-8 is refused, without its value', () => {
  for (const value of [`${canary}\n`, `${canary}\0`, `${canary}\x7f`, [...Buffer.from(canary), 0xff]])
    for (const run of [injectHeaders.bind(null, {}), derivedSecrets]) {
      const failure = refusal(() => run({}, { basic: { username: 'u', secret: seal(value) } }));
      assert.match(failure.message, /^vault:notion .*Authorization$/);
      assert.doesNotMatch(`${failure.message}${failure.stack}`, new RegExp(canary));
    }
});

test('D2 what gives a secret away without containing it is derived, under the label of the secret', () => {
  const texts = (secrets: readonly Secret[]): string[] =>
    secrets.map((one) => `${one.label} ${reveal(one, 'a test').toString('utf8')}`);
  const long = seal(canary);
  const short = seal('7-x', 'vault:pin');
  assert.deepEqual(texts(derivedSecrets({ A: long, B: short }, { bearer: long })), []);
  assert.deepEqual(
    texts(derivedSecrets({ A: long, B: short }, { templates: { A: 'Token {}', B: 'Token {}' } })),
    ['vault:pin Token 7-x'],
  );
  assert.deepEqual(texts(derivedSecrets({}, { bearer: short })), ['vault:pin Bearer 7-x']);
  const pair = Buffer.from(`u:${canary}`).toString('base64');
  assert.deepEqual(texts(derivedSecrets({}, { basic: { username: 'u', secret: long } })), [
    `vault:notion ${pair}`,
    `vault:notion u:${canary}`,
  ]);
  assert.deepEqual(decodedSecrets(long), []);
  assert.deepEqual(texts(decodedSecrets(seal([0x61, 0xff]))), [
    'vault:notion a\u00ff',
    'vault:notion a\ufffd',
  ]);
});
