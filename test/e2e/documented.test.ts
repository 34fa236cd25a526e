/** The commands of docs/credentials.md, pasted in a clean home: afterwards the upstream that its section names starts. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { mainFile } from '../../src/cli/main-file.ts';
import { packageRoot } from '../../src/paths.ts';
import { canary, scanForLeaks } from '../support/leaks.ts';
import { noSecretService, SecretService } from '../support/secret-service.ts';
import { everythingServer } from '../support/servers.ts';
import { finished, Home, type Result } from './home.ts';

const sections = readFileSync(join(packageRoot, 'docs', 'credentials.md'), 'utf8').split(/^## /m);

interface Section {
  readonly commands: readonly string[];
  /** What the section has the configuration say. */
  readonly reference: string;
}

function section(title: string): Section {
  const text = sections.find((each) => each.startsWith(title)) ?? assert.fail(`no section ${title}`);
  const block = /```sh\n(.*?)```/s.exec(text)?.[1] ?? assert.fail(`no commands under ${title}`);
  const reference = /`NOTION_TOKEN: (\S+)`/.exec(text)?.[1] ?? assert.fail(`no reference under ${title}`);
  return { commands: block.trimEnd().split('\n'), reference };
}

/** A home with `ostiary` on its PATH, and what is typed or piped in. */
class Clean {
  readonly home: Home;
  readonly secret = canary('documented');
  readonly #env: Readonly<Record<string, string>>;
  readonly #printed: string[] = [];

  constructor(t: TestContext, reference: string, env: Readonly<Record<string, string>> = {}) {
    this.home = new Home(t);
    const program = join(this.home.scratch, 'ostiary');
    writeFileSync(program, `#!/bin/sh\nexec '${process.execPath}' '${mainFile}' "$@"\n`);
    chmodSync(program, 0o700);
    this.#env = { ...this.home.env, ...env, PATH: `${this.home.scratch}:${this.home.env.PATH}` };
    this.configure(reference);
  }

  configure(reference: string): void {
    const secrets = { NOTION_TOKEN: reference.replace('/home/me', this.home.directory) };
    this.home.configure({ everything: { ...everythingServer(), secrets } });
  }

  /** Pastes lines; what reads something is given the secret. */
  async paste(lines: string): Promise<Result> {
    const child = spawn('bash', ['-c', lines], { cwd: this.home.directory, env: this.#env });
    child.stdin.on('error', () => {});
    child.stdin.end(`${this.secret.value}\n`);
    const result = await finished(child);
    this.#printed.push(result.stdout, result.stderr);
    return result;
  }

  async ok(lines: string): Promise<string> {
    const { code, stdout, stderr } = await this.paste(lines);
    assert.equal(code, 0, `${lines}: ${stderr}`);
    return stdout;
  }

  /** As the document says: `get-env` shows a mark where the value is. */
  async assertStarts(): Promise<void> {
    const shown = await this.ok('ostiary up && ostiary call everything get-env ');
    assert.match(shown, /NOTION_TOKEN[\\": ]+\[redacted /);
    assert.deepEqual(scanForLeaks([this.secret], { texts: this.#printed }), []);
  }
}

test('documented: a vault with a key file', async (t) => {
  const { commands, reference } = section('`vault:` with a key file');
  const clean = new Clean(t, reference);
  writeFileSync(join(clean.home.directory, 'token.txt'), canary('github').value);
  for (const command of commands) await clean.ok(command);
  await clean.assertStarts();
});

test('documented: the keychain', { skip: noSecretService }, async (t) => {
  const { commands, reference } = section('`keychain:`');
  const service = await SecretService.start(t);
  const clean = new Clean(t, reference, service.env);
  const [set, list, rotate, remove, ...more] = commands as [string, string, string, string];
  assert.deepEqual(more, []);
  await clean.ok(set);
  assert.match(await clean.ok(list), /keychain:ostiary\/notion/);
  await clean.ok(rotate);
  assert.equal((await clean.paste(remove)).code, 5, 'it is used');
  await clean.assertStarts();
});

test('documented: a variable, which the agent does not get', async (t) => {
  const { commands, reference } = section('`env:`');
  const clean = new Clean(t, reference);
  const [read, run, ...more] = commands as [string, string];
  assert.deepEqual(more, []);
  const agent = run.replace('AGENT', 'printenv NOTION_TOKEN');
  assert.equal(await clean.ok(`${read}\n${agent} || echo nothing`), 'nothing\n');
  await clean.ok(`${read}\nostiary up`);
  assert.match(await clean.ok('ostiary call everything get-env'), /NOTION_TOKEN[\\": ]+\[redacted env:/);
});

test('documented: a file', async (t) => {
  const { commands, reference } = section('`file:`');
  const clean = new Clean(t, reference);
  for (const command of commands) await clean.ok(command);
  await clean.assertStarts();
});
