import assert from 'node:assert/strict';
import { test } from 'node:test';
import { packVariables, unpackVariables } from '../../src/cli/handover.ts';
import { Failure } from '../../src/errors.ts';
import { filledPipe } from '../../src/os/index.ts';

const unpack = (bytes: Buffer): Record<string, string> => unpackVariables(String(filledPipe(bytes)));

test('A18 I1 what references name goes along, and nothing that the daemon has anyway or that steers it', () => {
  const env = {
    TOKEN: 'canary-é\n',
    OTHER: 'canary',
    HOME: '/h',
    LANG: 'C',
    NODE_OPTIONS: 'canary',
    PATH: '/p',
  };
  const packed = packVariables(env, [
    'TOKEN',
    'HOME',
    'LANG',
    'NODE_OPTIONS',
    'PATH',
    'MISSING',
    'constructor',
  ]);
  assert.deepEqual(unpack(packed ?? Buffer.alloc(0)), { TOKEN: 'canary-é\n' });
  assert.equal(packVariables(env, ['HOME', 'PATH', 'MISSING', 'toString']), null);
});

test('what is no JSON object of texts is refused, and not repeated', () => {
  for (const text of ['', 'canary-x', '["canary-x"]', '{"A": 1, "B": "canary-x"}', 'null'])
    assert.throws(
      () => unpack(Buffer.from(text)),
      (error) => error instanceof Failure && error.kind === 'usage' && !`${error.stack}`.includes('canary-x'),
    );
  assert.throws(() => unpackVariables('canary-x'), Failure);
  assert.throws(() => unpackVariables('987654'), Failure);
});
