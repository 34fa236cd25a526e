/** What the documents promise and what the program does are compared, so that neither moves alone. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { pathToFileURL } from 'node:url';
import { parseConfig } from '../src/config/load.ts';
import { exitCodes, type RefusalCode, refuse } from '../src/errors.ts';
import { packageRoot } from '../src/paths.ts';
import { refusalResponse, statusOf } from '../src/proxy/wire.ts';

const program = join(packageRoot, 'build', 'src', 'cli', 'program.js');
const every = join(packageRoot, 'build', 'src', 'cli', 'commands.js');

function read(path: string): string {
  return readFileSync(join(packageRoot, path), 'utf8');
}

/** Every document of ours; what packages bring along is theirs. */
const pages = readdirSync(packageRoot, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name.endsWith('.md'))
  .map((entry) => relative(packageRoot, join(entry.parentPath, entry.name)))
  .filter((path) => !/(^|\/)(node_modules|build|dist|coverage)\//.test(path));

/** The text from a heading to the next one that is not below it. */
function section(page: string, heading: string): string {
  const [marks = ''] = heading.split(' ');
  const start = page.indexOf(`\n${heading}\n`);
  assert(start >= 0, `no section "${heading}"`);
  const rest = page.slice(start + heading.length + 2);
  const end = rest.search(new RegExp(`^#{1,${marks.length}} `, 'm'));
  return end < 0 ? rest : rest.slice(0, end);
}

/** Cells of the rows of all tables in `text` whose first cell matches. */
function rows(text: string, first: RegExp): string[][] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    )
    .filter(([cell]) => cell !== undefined && first.test(cell));
}

function codeBlocks(text: string, language: string): string[] {
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map(
    ([, block]) => block ?? '',
  );
}

function unquote(cell: string | undefined): string {
  return (cell ?? '').replaceAll('`', '');
}

describe('docs/errors.md', () => {
  const documented = rows(section(read('docs/errors.md'), '## Codes'), /^`[a-z_]+`$/);

  it('lists each refusal code once, and no other', () => {
    const [, union = ''] = /export type RefusalCode =([^;]+);/.exec(read('src/errors.ts')) ?? [];
    const codes = [...union.matchAll(/'([a-z_]+)'/g)].map(([, code]) => code);
    assert(codes.length > 0);
    assert.deepEqual(documented.map(([code]) => unquote(code)).sort(), codes.sort());
  });

  it('gives the statuses and JSON-RPC codes of wire.ts', () => {
    for (const [code, status, rpc, meaning, remedy] of documented) {
      const refusal = refuse(unquote(code) as RefusalCode, '');
      const { error } = JSON.parse(refusalResponse(null, refusal).toString()) as { error: { code: number } };
      assert.deepEqual([status, rpc], [String(statusOf(refusal)), String(error.code)], code);
      assert(meaning && remedy, `${code}: what it means, and what to do`);
    }
  });
});

interface Help {
  readonly words: readonly string[];
  readonly text: string;
}

/** The help of every command, as the built program prints it; one process for all, since starting Node is slow. */
function everyHelp(): Help[] {
  const script = `const { runProgram } = await import(${JSON.stringify(pathToFileURL(program).href)});
    const { commands } = await import(${JSON.stringify(pathToFileURL(every).href)});
    const write = process.stdout.write;
    async function help(words) {
      let text = '';
      process.stdout.write = (chunk) => ((text += chunk), true);
      await runProgram([...words, '--help'], commands);
      process.stdout.write = write;
      const names = [...(text.split(/^Commands:\\n/m)[1] ?? '').matchAll(/^ {2}([a-z][a-z-]*)/gm)].map(([, name]) => name);
      const below = [];
      for (const name of names.filter((one) => one !== 'help')) below.push(...(await help([...words, name])));
      return [{ words, text }, ...below];
    }
    const all = await help([]);
    process.stdout.write(JSON.stringify(all));`;
  const printed = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  return JSON.parse(printed) as Help[];
}

describe('docs/cli.md', () => {
  const page = read('docs/cli.md');
  let printed: readonly Help[] | undefined;
  const helps = (): readonly Help[] => (printed ??= everyHelp());

  it('lists the exit codes', () => {
    const documented = rows(section(page, '## Exit codes'), /^\d+$/).map(([code, kind]) => [
      unquote(kind),
      Number(code),
    ]);
    assert.deepEqual(documented, [['', 0], ...Object.entries(exitCodes)]);
  });

  it('names every command, with its long options in its paragraph or row', () => {
    assert(helps().length > 20);
    for (const { words, text } of helps()) {
      if (words.length === 0 || /^Commands:$/m.test(text)) continue;
      const command = `ostiary ${words.join(' ')}`;
      const start = page.search(new RegExp(`(^\\| |\\*\\*)\`${command}[ \`]`, 'm'));
      assert(start >= 0, `${command} is not documented`);
      // A row ends with its line; a paragraph goes on to the next command or heading.
      const rest = page.slice(start);
      const end = rest.startsWith('|') ? rest.indexOf('\n') : rest.slice(2).search(/^(\*\*`ostiary |#)/m) + 2;
      const about = rest.slice(0, end);
      for (const [, option] of text.matchAll(/^ {2}(?:-\w, )?(--[a-z-]+)/gm))
        if (option !== '--help')
          assert(about.includes(`${option}`), `${command}: ${option} is not documented`);
    }
  });

  it('names no option that does not exist', () => {
    const known = new Set(helps().flatMap(({ text }) => [...text.matchAll(/--[a-z][a-z-]*/g)].map(String)));
    const named = [...page.matchAll(/(?<![\w-])--[a-z][a-z-]*/g)].map(String);
    assert.deepEqual(
      named.filter((option) => !known.has(option)),
      [],
    );
  });

  it('names every OSTIARY_ variable of the source, and no other', () => {
    const found = (text: string): string[] =>
      [...new Set([...text.matchAll(/\bOSTIARY_[A-Z_]+/g)].map(String))].sort();
    const sources = readdirSync(join(packageRoot, 'src'), { recursive: true })
      .map(String)
      .filter((name) => name.endsWith('.ts'))
      .map((name) => read(join('src', name)));
    assert.deepEqual(found(page), found(sources.join('\n')));
  });
});

describe('README.md', () => {
  const page = read('README.md');
  const manifest = JSON.parse(read('package.json')) as Record<
    'dependencies' | 'devDependencies',
    Record<string, string>
  >;
  /** What `dist/` is built with: [name, version, licence]. */
  const builtIn = [...read('dist/THIRD-PARTY.md').matchAll(/^## (\S+) (\S+) \((.+)\)$/gm)].map(
    ([, name = '', version, licence]) => ({ name, version, licence }),
  );

  it('sets up with exactly two commands', () => {
    const blocks = codeBlocks(section(page, '## Set up'), 'sh');
    assert.deepEqual(blocks, ['npm ci && npm run demo\nnpm test\n']);
  });

  it('lists exactly the packages that run, with version and licence as installed', () => {
    const documented = rows(section(page, '## Dependencies'), /^`[@a-z]/);
    const wanted = Object.entries(manifest.devDependencies).filter(([name]) =>
      builtIn.some((one) => one.name === name),
    );
    assert.deepEqual(
      documented.map(([name, version]) => [unquote(name), version]),
      [...Object.entries(manifest.dependencies), ...wanted].sort(),
    );
    assert(wanted.length > 0);
    for (const { name, version, licence } of builtIn) {
      const installed = JSON.parse(read(`node_modules/${name}/package.json`)) as Record<string, unknown>;
      assert.deepEqual([installed.version, installed.license], [version, licence], name);
    }
    for (const [name, version, licence, why, replaces, along, script] of documented) {
      const installed = JSON.parse(read(`node_modules/${unquote(name)}/package.json`)) as Record<
        string,
        unknown
      >;
      assert.deepEqual([installed.version, installed.license], [version, licence], name);
      assert(why && replaces && along, `${name} has to earn its place`);
      const scripts = (installed.scripts ?? {}) as Record<string, string>;
      const runs = ['preinstall', 'install', 'postinstall'].some((one) => one in scripts);
      assert.equal(script?.startsWith('yes'), runs, `${name}: install script`);
    }
    assert.match(read('.npmrc'), /^ignore-scripts=true$/m);
  });

  it('counts the packages and names what they bring along', () => {
    interface Locked {
      readonly dev?: boolean;
      readonly optional?: boolean;
      readonly devOptional?: boolean;
    }
    const { packages } = JSON.parse(read('package-lock.json')) as { packages: Record<string, Locked> };
    const installed = Object.entries(packages)
      .filter(([path, { dev, optional, devOptional }]) => path !== '' && !dev && !optional && !devOptional)
      .map(([path]) => path.replace(/^.*node_modules\//, ''));
    const shipped = [...installed, ...builtIn.map(({ name }) => name)];
    const text = section(page, '## Dependencies');
    assert.match(text, new RegExp(`\\b${shipped.length} packages\\b`));
    for (const name of shipped) assert(text.includes(`\`${name}\``), name);
  });

  it('has a first use that works word for word', (t: TestContext) => {
    if (spawnSync('bash', ['-c', 'true']).status !== 0) return t.skip('no bash');
    const home = mkdtempSync(join(tmpdir(), 'ostiary-docs-'));
    t.after(() => rmSync(home, { recursive: true, force: true }));
    mkdirSync(join(home, 'run'), { mode: 0o700 });
    const secret = 'canary-docs-4711-correct-horse';
    // The one thing that a person adds: the value, typed there, piped in here.
    const script = codeBlocks(section(page, '## First use'), 'sh')
      .join('')
      .replace(/^(ostiary secret set .*)$/m, `printf %s ${secret} | $1`);
    const { status, stdout, stderr } = spawnSync('bash', ['-e', '-O', 'expand_aliases', '-c', script], {
      cwd: packageRoot,
      encoding: 'utf8',
      timeout: 120_000,
      env: {
        PATH: process.env.PATH,
        HOME: home,
        XDG_CONFIG_HOME: join(home, 'config'),
        XDG_STATE_HOME: join(home, 'state'),
        XDG_RUNTIME_DIR: join(home, 'run'),
      },
    });
    assert.equal(status, 0, stderr);
    assert(!`${stdout}${stderr}`.includes(secret));
    assert.match(stdout, /config\.yaml: ok\n/);
    assert.match(stdout, /\\"EXAMPLE_TOKEN\\": \\"\[redacted vault:example\]\\"/);
    assert.match(stdout, /"tools":\["echo","get-env"\]/);
    assert.match(stdout, /^proven: /m);
    assert.doesNotMatch(stderr, /warning/);
  });
});

describe('SECURITY.md', () => {
  const verdicts = rows(read('SECURITY.md'), /^[A-I]\d+$/);

  it('judges every attack of sections A to F, H and I', () => {
    const count = { A: 18, B: 10, C: 5, D: 6, E: 8, F: 9, H: 4, I: 5 };
    const expected = Object.entries(count).flatMap(([letter, last]) =>
      Array.from({ length: last }, (_, index) => `${letter}${index + 1}`),
    );
    assert.deepEqual(
      verdicts.map(([number]) => number),
      expected,
    );
  });

  it('says holds, partly, no or n/a, and why', () => {
    for (const [number, , verdict, why] of verdicts) {
      assert.match(verdict ?? '', /^\*\*(holds|partly|no|n\/a)\*\*/, number);
      assert(why, number);
    }
  });
});

describe('all documents', () => {
  it('are found', () => {
    for (const path of ['README.md', 'SECURITY.md', 'CHANGELOG.md', 'docs/cli.md', 'docs/audit.md'])
      assert(pages.includes(path), path);
  });

  it('have relative links that lead to a file and to a heading in it', () => {
    const anchor = (heading: string): string =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-');
    for (const path of pages) {
      const prose = read(path).replace(/^```.*?^```$/gms, '');
      for (const [, link = ''] of prose.matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^[a-z]+:/.test(link)) continue;
        const [file = '', fragment] = link.split('#');
        const target = file === '' ? join(packageRoot, path) : resolve(packageRoot, dirname(path), file);
        assert(existsSync(target), `${path}: ${link}`);
        if (fragment === undefined) continue;
        const headings = [...readFileSync(target, 'utf8').matchAll(/^#+ (.*)$/gm)].map(([, text]) =>
          anchor(text ?? ''),
        );
        assert(headings.includes(fragment), `${path}: ${link}`);
      }
    }
  });

  it('name source files that exist', () => {
    for (const path of pages)
      for (const [, file = ''] of read(path).matchAll(
        /`((?:src|docs|test|examples)\/[\w./-]+\.(?:ts|md|mjs))`/g,
      ))
        assert(existsSync(join(packageRoot, file)), `${path}: ${file}`);
  });

  it('of configuration and credentials have YAML that loads', () => {
    for (const path of pages) for (const block of codeBlocks(read(path), 'yaml')) parseConfig(block, path);
  });
});

it('LICENSE is the one that package.json names', () => {
  const { license } = JSON.parse(read('package.json')) as { license: string };
  assert.equal(license, 'Apache-2.0');
  assert.match(read('LICENSE'), /Apache License\s+Version 2\.0, January 2004/);
});
