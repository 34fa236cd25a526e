/** `ostiary config` as a person meets it: what goes to stdout, what to stderr, and how it ends. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { exampleConfig } from '../../src/config/example.ts';
import { schemaFile } from '../../src/config/shape.ts';

let directory: string;
before(() => {
  directory = realpathSync(mkdtempSync(join(tmpdir(), 'ostiary-cli-config-')));
});
after(() => rmSync(directory, { recursive: true }));

const command = new URL('../../src/cli/config.js', import.meta.url).href;

/** Runs the command as our program does; a thrown Failure ends up as `kind: message`. */
function ostiary(...args: string[]) {
  return ostiaryIn({}, ...args);
}

function ostiaryIn(env: Readonly<Record<string, string>>, ...args: string[]) {
  const script = `const { configCommand } = await import(${JSON.stringify(command)});
    try { await configCommand().parseAsync(process.argv.slice(1), { from: 'user' }); }
    catch (error) { console.error(error.kind + ': ' + error.message); process.exitCode = 9; }`;
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    ['--input-type=module', '-e', script, '--', ...args],
    {
      env: { HOME: directory, ...env },
      encoding: 'utf8',
    },
  );
  return { stdout, stderr, status };
}

function write(name: string, text: string): string {
  const file = join(directory, name);
  writeFileSync(file, text, { mode: 0o600 });
  return file;
}

describe('config check', () => {
  it('lists every problem once, then counts them', () => {
    const file = write('bad.yaml', 'version: 2\nx: 1\n');
    assert.deepEqual(ostiary('check', '--config', file), {
      stdout: '',
      stderr: [
        `${file}:1:10: version: expected 1, got 2`,
        `${file}:2:1: x: expected one of version, listen, limits, helpers, oauth, upstreams, profiles, agent, got an unknown key`,
        'config: 2 problems',
        '',
      ].join('\n'),
      status: 9,
    });
  });

  it('lists them as JSON', () => {
    const file = write('bad.yaml', 'version: 2\n');
    const { stdout, stderr, status } = ostiary('check', '--config', file, '--json');
    assert.deepEqual(JSON.parse(stdout), {
      ok: false,
      problems: [{ file, line: 1, column: 10, key: 'version', message: 'expected 1, got 2' }],
    });
    assert.deepEqual([stderr, status], ['config: 1 problem\n', 9]);
  });

  it('says what a good file means, without literal values', () => {
    const file = write(
      'good.yaml',
      'version: 1\nupstreams: {n: {command: node, env: {A: literal}, secrets: {T: vault:n}, fds: {P: vault:p}}}\nprofiles: {default: {rules: [{allow: n, tools: [a, "b*"]}]}}\n',
    );
    assert.deepEqual(ostiary('check', '--config', file), {
      stdout: `${file}: ok\nupstream n: ${process.execPath}\n  T from vault:n\n  P from vault:p, from a descriptor\nprofile default:\n  allow n tools a b*\n`,
      stderr: '',
      status: 0,
    });
  });

  it('says that a secret is in a file, and warns where that would be on a disk', {
    skip: !existsSync('/dev/shm') && 'no memory file system',
  }, () => {
    const file = write(
      'files.yaml',
      'version: 1\nupstreams: {n: {command: node, files: {F: vault:f}}}\nprofiles: {default: {rules: [{allow: n}]}}\n',
    );
    const check = (runtime: string) => ostiaryIn({ XDG_RUNTIME_DIR: runtime }, 'check', '--config', file);
    assert.deepEqual(check('/dev/shm'), {
      stdout: `${file}: ok\nupstream n: ${process.execPath}\n  F from vault:f, in a file\nprofile default:\n  allow n\n`,
      stderr: '',
      status: 0,
    });
    assert.match(check('/sys').stderr, /^ostiary: warning: upstreams\.n\.files: are on a disk .*\n$/);
  });

  it('warns of what is missing and of what others can replace (A14)', () => {
    const open = write('open.mjs', '');
    chmodSync(open, 0o666);
    const file = write(
      'warn.yaml',
      `version: 1
helpers: {h: {command: [/nowhere/h]}}
upstreams:
  a: {command: /nowhere/a}
  b: {command: node, args: [--x, ${open}]}
  c: {command: node, args: [cli.mjs]}
  d: {command: /nowhere/d, lifecycle: disabled}
  e: {command: /bin/sh, args: [/bin/sh, --api-key=hunter44444, --token-file=/x, --x=y]}
`,
    );
    const { stderr, status } = ostiary('check', '--config', file);
    assert.equal(status, 0);
    assert.deepEqual(stderr.split('\n'), [
      'ostiary: warning: profiles: none is configured; every agent may call everything of every upstream',
      'ostiary: warning: helpers.h: no upstream uses it',
      'ostiary: warning: helpers.h.command[0]: file does not exist',
      'ostiary: warning: upstreams.a.command: file does not exist',
      `ostiary: warning: upstreams.b.args[1]: file is writable by others; chmod go-w ${open}`,
      'ostiary: warning: upstreams.c.args[0]: expected an absolute path; upstreams run in an empty directory',
      'ostiary: warning: upstreams.e.args[1]: sounds like a secret, which every local user can read; see whether the server takes it as a variable, under secrets',
      '',
    ]);
    const json = JSON.parse(ostiary('check', '--config', file, '--json').stdout) as {
      ok: boolean;
      warnings: string[];
    };
    assert.equal(json.ok, true);
    assert.equal(json.warnings.length, 7);
  });

  it('says where HTTP upstreams go, without the query, and warns of literals that sound like secrets', () => {
    const file = write(
      'http.yaml',
      `version: 1
upstreams:
  a: {url: "https://a.example/mcp?api_key=hunter22222", headers: {X-Auth-Token: hunter33333}, bearer: vault:a}
profiles: {default: {rules: [{allow: a}]}}
`,
    );
    assert.deepEqual(ostiary('check', '--config', file), {
      stdout: `${file}: ok\nupstream a: https://a.example/mcp\n  Authorization from vault:a, as Bearer\nprofile default:\n  allow a\n`,
      stderr:
        'ostiary: warning: upstreams.a.headers.X-Auth-Token: sounds like a secret; name it under secrets\n' +
        'ostiary: warning: upstreams.a.url: a parameter sounds like a secret; see whether the server takes it as a header, under secrets\n',
      status: 0,
    });
    const { stdout } = ostiary('check', '--config', file, '--json');
    assert(!stdout.includes('hunter'));
  });

  it('throws what is no ConfigError as it is', () => {
    assert.equal(ostiary('check', '--config', '/nowhere/c.yaml').stderr, 'config: file does not exist\n');
  });
});

describe('config path, schema and example', () => {
  it('print what a script can use', () => {
    const file = join(directory, '.config/ostiary/config.yaml');
    assert.deepEqual(ostiary('path'), {
      stdout: `${file}\n`,
      stderr: `ostiary: ${file}: the default place; does not exist\n`,
      status: 0,
    });
    assert.equal(ostiary('schema').stdout, `${schemaFile}\n`);
    assert.equal((JSON.parse(ostiary('schema', '--print').stdout) as { type: string }).type, 'object');
    assert.equal(ostiary('example').stdout, exampleConfig());
  });
});
