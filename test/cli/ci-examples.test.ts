/** The CI jobs that we ship: their YAML is read, and each command line of ostiary in them and in docs/ci.md is parsed. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { Command } from 'commander';
import { parse } from 'yaml';
import { auditCommand } from '../../src/cli/audit.ts';
import { runCommand } from '../../src/cli/run.ts';
import { packageRoot } from '../../src/paths.ts';

const read = (path: string): string => readFileSync(join(packageRoot, path), 'utf8');

/** Words of a simple shell command; what is quoted is one word, and variables stay as they are. */
function words(line: string): string[] {
  return [...line.matchAll(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g)].map(([word]) => word.replaceAll(/["']/g, ''));
}

/** Arguments of each `ostiary` that is run in a script, alone or at the end of a pipe. */
function commandsIn(script: string): string[][] {
  const lines = script.replaceAll(/(\\|\|)\n\s*/g, '$1 ').split('\n');
  return lines.flatMap((line) => {
    const [, args] = /(?:^|\|\s*)ostiary (.*)$/.exec(line.trim()) ?? [];
    return args === undefined ? [] : [words(args)];
  });
}

/** Throws for what the program would refuse. Nothing is run. */
async function accept([name = '', ...args]: readonly string[]): Promise<Command> {
  const command = name === 'run' ? runCommand(null) : name === 'audit' ? auditCommand() : assert.fail(name);
  let called: Command | undefined;
  const silence = (one: Command): void => {
    one.exitOverride().configureOutput({ writeErr: () => {} });
    one.action(() => {
      called = one;
    });
    for (const below of one.commands) silence(below);
  };
  for (const one of command.commands.length > 0 ? command.commands : [command]) silence(one);
  await command.parseAsync(args, { from: 'user' });
  return called ?? assert.fail(`${name}: no such command`);
}

interface Step {
  readonly uses?: string;
  readonly with?: Readonly<Record<string, unknown>>;
  readonly run?: string;
  readonly env?: Readonly<Record<string, string>>;
}

interface Workflow {
  readonly jobs: Readonly<Record<string, { permissions?: Record<string, string>; steps: Step[] }>>;
}

interface GitlabJob {
  readonly script?: string[];
  readonly before_script?: string[];
  readonly id_tokens?: Record<string, { aud: string }>;
  readonly variables?: Record<string, string>;
}

async function acceptCi(script: string): Promise<Record<string, unknown>> {
  const [line, ...more] = commandsIn(script);
  assert.ok(line !== undefined && more.length === 0, script);
  const command = await accept(line);
  const options = command.opts();
  assert.equal(options.ci, true);
  assert.ok(options.auditOut);
  assert.deepEqual(command.args, ['node', 'scripts/agent.mjs']);
  return options;
}

describe('CI jobs', () => {
  test('examples/github-actions.yml: a secret of one step by stdin, and an identity', async () => {
    const { jobs } = parse(read('examples/github-actions.yml')) as Workflow;
    const found = [];
    for (const { steps, permissions } of Object.values(jobs)) {
      for (const { uses } of steps) if (uses !== undefined) assert.match(uses, /^actions\/[a-z-]+@v\d+$/);
      const checkout = steps.find(({ uses }) => uses?.startsWith('actions/checkout@'));
      assert.equal(checkout?.with?.['persist-credentials'], false);
      const [step, ...more] = steps.filter(({ run }) => run?.includes('ostiary run'));
      assert.ok(step?.run !== undefined && more.length === 0);
      const { secretsStdin } = await acceptCi(step.run);
      const secrets = steps.filter(({ env }) => JSON.stringify(env ?? {}).includes('secrets.'));
      assert.deepEqual(secrets, secretsStdin === true ? [step] : []);
      found.push([secretsStdin === true, permissions?.['id-token'] === 'write']);
    }
    assert.deepEqual(found, [
      [true, false],
      [false, true],
    ]);
  });

  test('examples/gitlab-ci.yml: a masked variable by stdin, a file, and an identity', async () => {
    const { '.agent': common, ...jobs } = parse(read('examples/gitlab-ci.yml')) as Record<string, GitlabJob>;
    assert.equal(common?.variables?.FF_GIT_URLS_WITHOUT_TOKENS, 'true');
    const found = [];
    for (const { script = [], id_tokens: tokens } of Object.values(jobs)) {
      const { secretsStdin, secret, consume } = await acceptCi(script.join('\n'));
      found.push([secretsStdin === true, consume === true && secret, tokens?.CORP_ID_TOKEN?.aud]);
    }
    assert.deepEqual(found, [
      [true, false, undefined],
      [false, ['notes=file:$NOTES_API_TOKEN_FILE'], undefined],
      [false, false, 'https://login.corp.example'],
    ]);
  });

  test('docs/ci.md: every command line is accepted', async () => {
    const blocks = [...read('docs/ci.md').matchAll(/^( *)```sh\n(.*?)^ *```$/gms)].map(
      ([, , block]) => block,
    );
    const lines = blocks.flatMap((block) => commandsIn((block ?? '').replaceAll(/UvkX…/g, 'A'.repeat(43))));
    assert.deepEqual(
      lines.map(([name]) => name),
      ['run', 'audit'],
    );
    for (const line of lines) await accept(line);
    await assert.rejects(accept(['run', '--cii', '--', 'x']), /unknown option/, 'it can fail');
  });
});
