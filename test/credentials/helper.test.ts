/** One run of a helper: attack E9, and what of I1 and I2 concerns helpers. */
import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  existsSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import type { Helper } from '../../src/credentials/helper.ts';
import { reveal } from '../../src/credentials/reveal.ts';
import { eventually } from '../support/daemon.ts';
import { helper, jwt, Rig, ref, script } from './helpers-support.ts';
import { canary, directory, fails, toNobody } from './support.ts';

/** Living processes with this entry in their environment; Linux only. */
function processesWith(entry: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(entry);
      } catch {
        return false;
      }
    })
    .map(Number);
}

function run(t: TestContext, given: Helper, env: Record<string, string> = {}) {
  return new Rig(t, { h: given }, { env }).broker.acquire(ref('h'), toNobody);
}

const print = `printf '%s\\n' "$VALUE"`;

test('takes what it printed, less one line end', async (t) => {
  const value = canary();
  const secret = await run(t, script(print, { VALUE: value }));
  assert.equal(reveal(secret, 'test').toString(), value);
  assert.equal(secret.label, 'command:h');
});

test('I1: its environment is ours and its own, its directory is /, its stdin is empty', async (t) => {
  const seen = join(directory(t), 'seen');
  const foreign = { NODE_OPTIONS: '--x', LD_PRELOAD: '/x', PATH: '/evil', BASH_ENV: '/x', SECRET: canary() };
  const given = script('/usr/bin/env > "$SEEN"; pwd >> "$SEEN"; cat >> "$SEEN"; printf canary', {
    SEEN: seen,
  });
  const saved = process.env.NODE_V8_COVERAGE;
  process.env.NODE_V8_COVERAGE = directory(t);
  t.after(() => {
    if (saved === undefined) delete process.env.NODE_V8_COVERAGE;
    else process.env.NODE_V8_COVERAGE = saved;
  });
  await run(t, given, { ...foreign, HOME: '/h', USER: 'u', LOGNAME: 'l', LANG: 'C', TZ: 'UTC' });
  // sh itself adds the last three.
  const lines = readFileSync(seen, 'utf8')
    .trimEnd()
    .split('\n')
    .filter((line) => !/^(PWD|OLDPWD|SHLVL|_)=/.test(line));
  assert.deepEqual(
    lines.sort(),
    [
      '/',
      'HOME=/h',
      'LANG=C',
      'LOGNAME=l',
      'PATH=/usr/local/bin:/usr/bin:/bin',
      `SEEN=${seen}`,
      'TZ=UTC',
      'USER=u',
    ].sort(),
  );
});

describe('which program', () => {
  test('E9: a relative helper is refused before PATH is searched', async (t) => {
    const path = directory(t);
    writeFileSync(join(path, 'hijacked'), '#!/bin/sh\nprintf canary-hijacked\n', { mode: 0o755 });
    for (const command of [['hijacked'], ['./hijacked'], [''], []])
      await fails(
        () => run(t, helper({ command, env: { PATH: path } }), { PATH: path }),
        'config',
        /^command:h: the helper's executable is not an absolute path$/,
      );
  });

  test('E9: arguments are no shell text', async (t) => {
    const text = 'canary-$(id);`id`|&';
    const secret = await run(t, helper({ command: ['/bin/echo', text] }));
    assert.equal(reveal(secret, 'test').toString(), text);
  });

  test('E9: one that is not there, or cannot be executed, is an error', async (t) => {
    await fails(() => run(t, helper({ command: ['/nonexistent/h'] })), 'credential', /ENOENT/);
    const plain = join(directory(t), 'plain');
    writeFileSync(plain, 'x', { mode: 0o644 });
    await fails(() => run(t, helper({ command: [plain] })), 'credential', /EACCES/);
    await fails(
      () => new Rig(t, {}).broker.acquire(ref('other'), toNobody),
      'config',
      /no helper of this name/,
    );
  });

  test('E9 I2: one that others can change, or lead us away from, is not run', async (t) => {
    const path = directory(t);
    const ran = join(path, 'ran');
    const program = (name: string, mode = 0o755): string => {
      const file = join(path, name);
      writeFileSync(file, `#!/bin/sh\n: > ${ran}\nprintf canary-program\n`);
      chmodSync(file, mode);
      return file;
    };
    const refused = (file: string, how: RegExp): Promise<void> =>
      fails(() => run(t, helper({ command: [file] })), 'config', how);
    await refused(program('everybody', 0o757), /^command:h: the helper's executable is writable by others$/);
    await refused(program('group', 0o775), /is writable by others$/);
    const link = join(path, 'link');
    symlinkSync(join(path, 'everybody'), link);
    await refused(link, /is writable by others$/);
    const good = program('good');
    chmodSync(path, 0o777);
    await refused(good, /could be replaced: .*directory is writable by others/);
    chmodSync(path, 0o700);
    assert.ok(!existsSync(ran));
    if (process.getuid?.() !== 0) t.diagnostic('owner not tested: needs root');
    else {
      chownSync(good, 65_533, 65_533);
      await refused(good, /is owned by uid 65533, who could replace it$/);
      chownSync(good, 0, 0);
    }
    assert.ok(!existsSync(ran));
    await run(t, helper({ command: [good] }));
    assert.ok(existsSync(ran));
  });
});

describe('what goes wrong', () => {
  test('E9: a non-zero exit is an error even with a value; stderr is counted, not shown', async (t) => {
    const value = canary();
    await fails(
      () => run(t, script(`${print}; ${print} >&2; exit 3`, { VALUE: value })),
      'credential',
      new RegExp(`^command:h: the helper exited with code 3; it printed ${value.length + 1} bytes to stderr`),
      [value],
    );
    await fails(() => run(t, script('kill -9 $$')), 'credential', /was ended by SIGKILL$/);
  });

  test('E9: nothing printed is an error, whatever went to stderr', async (t) => {
    const value = canary();
    await fails(() => run(t, script(':')), 'credential', /^command:h: the helper printed nothing$/);
    await fails(() => run(t, script('echo')), 'credential', /^command:h: the value is empty$/);
    await fails(
      () => run(t, script(`${print} >&2`, { VALUE: value })),
      'credential',
      new RegExp(
        `printed nothing; it printed ${value.length + 1} bytes to stderr, which may hold the secret$`,
      ),
      [value],
    );
  });

  test('E9: a flood is cut off, on stdout and on stderr', async (t) => {
    await fails(() => run(t, script('exec cat /dev/zero')), 'credential', /printed more than 65536 bytes$/);
    await fails(
      () => run(t, script('exec cat /dev/zero >&2')),
      'credential',
      /the helper printed more than 1048576 bytes to stderr; /,
    );
  });

  test('E9: one that hangs is killed with all that it started, even if it ignores SIGTERM', async (t) => {
    const marker = join(directory(t), 'started');
    const text = `trap '' TERM; (trap '' TERM; while :; do /bin/sleep 100; done) & : > "$MARKER"; while :; do /bin/sleep 100; done`;
    const rig = new Rig(t, { h: script(text, { MARKER: marker }, { timeoutMs: 1000 }) });
    const failed = fails(
      () => rig.broker.acquire(ref('h'), toNobody),
      'credential',
      /gave no answer within 1000 ms$/,
    );
    await eventually('it started', () => existsSync(marker) || undefined);
    assert.equal(rig.guarded.size, 1, 'the watchdog ends it should we be killed');
    await failed;
    assert.equal(rig.guarded.size, 0);
    // SIGKILL has been sent; the kernel takes a moment to be done with it.
    await eventually('all of it gone', () => processesWith(`MARKER=${marker}`).length === 0 || undefined);
  });

  test('E9: one that waits for input, or reads none, does not hang', async (t) => {
    const ask = { format: 'docker', registry: 'canary.example' } as const;
    const answer = `printf '{"Username":"u","Secret":"%s"}' "$VALUE"`;
    const value = canary();
    for (const text of [`cat > /dev/null; ${answer}`, answer, `exec < /dev/null; ${answer}`]) {
      const secret = await run(t, script(text, { VALUE: value }, { ask }));
      assert.equal(reveal(secret, 'test').toString(), value);
    }
  });

  test('E9: one whose grandchild left its process group does not hang us', async (t) => {
    const setsid = '/usr/bin/setsid';
    if (!existsSync(setsid)) return t.skip('no setsid here');
    const marker = join(directory(t), 'left');
    const given = script(`${setsid} /bin/sleep 60 & printf canary-early; wait`, { MARKER: marker });
    await fails(() => run(t, { ...given, timeoutMs: 300 }), 'credential', /gave no answer within 300 ms$/);
    for (const pid of processesWith(`MARKER=${marker}`)) process.kill(pid, 'SIGKILL');
  });

  test('E9: an expired JWT is an error that says when, and shows nothing of it', async (t) => {
    const token = jwt({ sub: 'canary-subject', exp: 1_700_000_000 });
    for (const ask of [{ format: 'raw' }, { format: 'git', url: 'https://git.example' }] as const) {
      const text = ask.format === 'raw' ? `echo "$VALUE"` : `printf 'password=%s\\n' "$VALUE"`;
      await fails(
        () => run(t, script(text, { VALUE: token }, { ask })),
        'credential',
        /^command:h: the helper's credential expired at 2023-11-14T22:13:20\.000Z$/,
        [token, 'canary-subject'],
      );
    }
  });

  test('E9: output of another format names the key that is wrong, and shows nothing of it', async (t) => {
    const value = canary();
    const printed = (ask: Helper['ask'], text: string, message: RegExp): Promise<void> =>
      fails(() => run(t, script('printf %s "$VALUE"', { VALUE: text }, { ask })), 'credential', message, [
        value,
      ]);
    const json = { format: 'json' } as const;
    await printed(
      json,
      value,
      /^command:h: the helper printed something else than format json: expected JSON, got \d+ bytes/,
    );
    await printed(json, `["${value}"]`, /the whole: expected a map, got a list$/);
    await printed(
      json,
      `{"${value}":1,"value":"x"}`,
      /expected no other keys than value, fields, expiresAt, refreshAfter/,
    );
    await printed(
      json,
      `{"value":"x","expiresAt":"${value}"}`,
      /: expiresAt: expected a time such as .*, got other text$/,
    );
    const kube = { format: 'exec-credential', server: null } as const;
    await printed(
      kube,
      `{"apiVersion":"${value}"}`,
      /: apiVersion: expected client\.authentication\.k8s\.io\/v1, got other text$/,
    );
  });
});
