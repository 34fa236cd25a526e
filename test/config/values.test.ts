// biome-ignore-all lint/suspicious/noTemplateCurlyInString: that nothing expands them is what is tested
/** What a correct file becomes: literal, complete, frozen. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseDuration } from '../../src/config/duration.ts';
import { parseConfig } from '../../src/config/load.ts';
import { ConfigError } from '../../src/config/problem.ts';
import { nearest } from '../../src/config/suggest.ts';
import { limits } from '../../src/limits.ts';

const parse = (...lines: string[]) => parseConfig(['version: 1', ...lines].join('\n'), '/c.yaml');

describe('values', () => {
  it('are what the file says', () => {
    const config = parse(
      'listen: { port: 4711 }',
      'helpers:',
      '  gh: { command: [/usr/bin/gh, auth, token], env: {GH_HOST: github.com}, timeout: 10s }',
      'upstreams:',
      '  notion:',
      '    command: node',
      '    args: [/opt/notion/cli.mjs]',
      '    env: { BASE_URL: "https://x" }',
      '    secrets: { A: vault:notion, B: env:B, C: file:/run/c, D: command:gh }',
      '    start_timeout: 500ms',
      '    call_timeout: 1h',
      '  off: { command: /bin/off, lifecycle: disabled }',
      'profiles:',
      '  default:',
      '    rules:',
      '      - { allow: notion, tools: ["API-get-*"], prompts: [p], resources: ["file:///*"] }',
      '      - deny: "*"',
      'agent: { env: [ANTHROPIC_API_KEY, "CLAUDE_CODE_*"] }',
    );
    assert.equal(config.file, '/c.yaml');
    assert.equal(config.listen.port, 4711);
    assert.deepEqual(
      { ...config.helpers.get('gh'), env: { ...config.helpers.get('gh')?.env } },
      {
        name: 'gh',
        command: ['/usr/bin/gh', 'auth', 'token'],
        env: { GH_HOST: 'github.com' },
        timeoutMs: 10_000,
      },
    );
    const notion = config.upstreams.get('notion');
    assert.deepEqual(
      { ...notion, env: { ...notion?.env }, secrets: { ...notion?.secrets } },
      {
        name: 'notion',
        command: process.execPath,
        args: ['/opt/notion/cli.mjs'],
        env: { BASE_URL: 'https://x' },
        secrets: {
          A: { source: 'vault', name: 'notion' },
          B: { source: 'env', name: 'B' },
          C: { source: 'file', path: '/run/c' },
          D: { source: 'command', helper: 'gh' },
        },
        lifecycle: 'session',
        startTimeoutMs: 500,
        callTimeoutMs: 3_600_000,
      },
    );
    assert.equal(config.upstreams.get('off')?.lifecycle, 'disabled');
    assert.deepEqual(config.profiles.get('default')?.rules, [
      { effect: 'allow', upstream: 'notion', tools: ['API-get-*'], prompts: ['p'], resources: ['file:///*'] },
      { effect: 'deny', upstream: '*' },
    ]);
    assert.deepEqual(config.agent.env, ['ANTHROPIC_API_KEY', 'CLAUDE_CODE_*']);
  });

  it('have the defaults of limits.ts', () => {
    const upstream = parse('upstreams: {n: {command: /bin/n}}').upstreams.get('n');
    assert.equal(upstream?.startTimeoutMs, limits.upstreamStartMs);
    assert.equal(upstream?.callTimeoutMs, limits.upstreamCallMs);
    assert.equal(
      parse('helpers: {h: {command: [/bin/h]}}').helpers.get('h')?.timeoutMs,
      limits.helperTimeoutMs,
    );
  });

  it('I1 are never interpolated', () => {
    const texts = [
      '${HOME}',
      '$HOME',
      '$(id)',
      '`id`',
      '~/x',
      '%HOME%',
      '{{ env "HOME" }}',
      '!ENV HOME',
      '*HOME',
    ];
    const upstream = parse(
      `upstreams: {n: {command: "/bin/\${HOME}", args: ${JSON.stringify(texts)}, env: {A: "\${PATH}"}, secrets: {B: "file:/run/\${USER}"}}}`,
    ).upstreams.get('n');
    assert.equal(upstream?.command, '/bin/${HOME}');
    assert.deepEqual(upstream?.args, texts);
    assert.equal(upstream?.env.A, '${PATH}');
    assert.deepEqual(upstream?.secrets.B, { source: 'file', path: '/run/${USER}' });
  });

  it('C1 know no special names', () => {
    const config = parse(
      'upstreams:',
      '  constructor: {command: /bin/n, env: {__proto__: x, constructor: y}, secrets: {toString: vault:x}}',
    );
    const upstream = config.upstreams.get('constructor');
    assert.deepEqual(Object.entries(upstream?.env ?? {}), [
      ['__proto__', 'x'],
      ['constructor', 'y'],
    ]);
    assert.deepEqual(Object.keys(upstream?.secrets ?? {}), ['toString']);
    assert.equal(upstream?.secrets.constructor, undefined);
    assert.throws(
      () => parse('__proto__: {listen: {port: 1}}'),
      /__proto__: expected one of version, .* got an unknown key/,
    );
  });

  it('are frozen through and through', () => {
    const config = parse(
      'helpers: {h: {command: [/bin/h], env: {A: x}}}',
      'upstreams: {n: {command: /bin/n, args: [a], env: {A: x}, secrets: {B: command:h}}}',
      'profiles: {default: {rules: [{allow: n, tools: [t], prompts: [p], resources: [r]}]}}',
    );
    const visit = (value: unknown): void => {
      if (typeof value !== 'object' || value === null) return;
      assert(Object.isFrozen(value));
      for (const each of value instanceof Map ? value.values() : Object.values(value)) visit(each);
    };
    visit(config);
    for (const map of [config.upstreams, config.helpers, config.profiles] as unknown as Map<
      string,
      unknown
    >[]) {
      assert.throws(() => map.set('x', {}), TypeError);
      assert.throws(() => map.delete('n'), TypeError);
      assert.throws(() => map.clear(), TypeError);
      assert.equal(map.size, 1);
    }
  });
});

describe('durations', () => {
  it('have four units and end at a day', () => {
    assert.deepEqual(
      ['1ms', '30s', '10m', '24h', '86400000ms', '86400001ms', '25h', '0s', '01s', '1', 's', '1 s', '1S'].map(
        parseDuration,
      ),
      [1, 30_000, 600_000, 86_400_000, 86_400_000, null, null, null, null, null, null, null, null],
    );
  });
});

describe('suggestions', () => {
  it('forgive slips and styles, and nothing else', () => {
    const names = ['start_timeout', 'call_timeout', 'env', 'secrets'];
    assert.equal(nearest('startTimeout', names), 'start_timeout');
    assert.equal(nearest('secrest', names), 'secrets');
    assert.equal(nearest('secret', names), 'secrets');
    assert.equal(nearest('ENV', names), 'env');
    assert.equal(nearest('url', names), null);
    assert.equal(nearest('s'.repeat(10_000), names), null);
  });
});

describe('any text', () => {
  it('C1 is a configuration or a ConfigError', () => {
    const words = [
      'version',
      'upstreams',
      'secrets',
      'env',
      'n',
      ': ',
      ':',
      '\n',
      '  ',
      '- ',
      '{',
      '}',
      '[',
      ']',
      ',',
      '"',
      "'",
    ];
    const more = [
      '&a',
      '*a',
      '!!map',
      '|',
      '>',
      '?',
      '#',
      '%',
      '---',
      '...',
      '\t',
      '\r',
      '<<',
      '1',
      '~',
      '\u0000',
      'é',
      '\u2028',
    ];
    const text = fc
      .array(fc.constantFrom(...words, ...more), { maxLength: 60 })
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(text, (each) => {
        try {
          parseConfig(each, 'c.yaml');
        } catch (error) {
          assert(error instanceof ConfigError, String(error));
          for (const { place, message } of error.problems) {
            assert(Number.isInteger(place.line) && Number.isInteger(place.column));
            assert.match(message, /^expected .+, got .+$/);
          }
        }
      }),
      { numRuns: 5_000 },
    );
  });
});
