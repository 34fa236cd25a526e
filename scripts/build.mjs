// src/ → dist/: what runs, with the packages that it is built with, in few files: a command starts in two thirds of the
// time of a file for each module, and the packages are those of our lock file wherever it is installed. Names and comments of
// the sources stay. Programs that run in a process of their own keep their place.
import { chmodSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import standalone from 'ajv/dist/standalone/index.js';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '..');
const dist = join(root, 'dist');
const read = (...path) => readFileSync(join(root, ...path), 'utf8');
const { dependencies } = JSON.parse(read('package.json'));

const programs = [
  'cli/entry/commands',
  'agents/attack/kit',
  'agents/attack/spy',
  'cli/doctor/attack/upstream',
  'credentials/keychain/worker',
  'credentials/oauth/refresh-worker',
];

/** An agent waits for them to start: each is one file, and CommonJS, for which Node has its loader ready. */
const alone = [
  'cli/entry/early-launcher',
  'cli/entry/run',
  'cli/entry/shim',
  'agents/sandbox/launcher',
  'agents/sandbox/start-agent',
];

const source = (path) => `src/${path}.ts`;

const common = {
  absWorkingDir: root,
  outbase: 'src',
  outdir: 'dist',
  bundle: true,
  platform: 'node',
  target: 'node20.19',
  // Native, each with a binary for the platform.
  external: Object.keys(dependencies),
  legalComments: 'none',
  logLevel: 'warning',
  metafile: true,
};

/** Packages written as CommonJS ask for Node's modules by `require`. */
const banner = {
  js: "import { createRequire as requireFrom } from 'node:module';\nconst require = requireFrom(import.meta.url);",
};

/** A JSON Schema as a check that needs no compiler when it runs: the text of a CommonJS module. */
function compiled(schema) {
  const options = { allErrors: true, strict: true, allowUnionTypes: true, verbose: true };
  const ajv = new Ajv2020({ ...options, code: { source: true } });
  return standalone.default(ajv, ajv.compile(schema));
}

/** `node_modules/@scope/name` of each file that went into the build. */
function packagesOf(metafiles) {
  const paths = metafiles.flatMap(({ inputs }) => Object.keys(inputs));
  const found = paths.map((path) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0]);
  return [...new Set(found.filter(Boolean))].sort();
}

/** Their licences ask to be named with them. */
function notices(packages) {
  return packages
    .map((directory) => {
      const { name, version, license } = JSON.parse(read(directory, 'package.json'));
      const file = readdirSync(join(root, directory)).find((one) => /^licen[cs]e/i.test(one));
      if (file === undefined) throw new Error(`${directory} has no licence text`);
      return `## ${name} ${version} (${license})\n\n${read(directory, file).trim()}\n`;
    })
    .join('\n');
}

rmSync(dist, { recursive: true, force: true });
const modules = await build({
  ...common,
  banner,
  format: 'esm',
  splitting: true,
  chunkNames: 'parts/[name]-[hash]',
  entryPoints: programs.map(source),
});
const single = await build({
  ...common,
  format: 'cjs',
  outExtension: { '.js': '.cjs' },
  banner: { js: "const sourceUrl = require('node:url').pathToFileURL(__filename).href;" },
  define: { 'import.meta.url': 'sourceUrl' },
  // What they load later is in them, too.
  supported: { 'dynamic-import': false },
  entryPoints: alone.map(source),
});
// The bin entry; and what Nodes of upstreams require before their own code.
const scripts = await build({
  ...common,
  format: 'cjs',
  outExtension: { '.js': '.cjs' },
  external: ['./cli/entry/*'],
  entryPoints: ['src/main.cts', 'src/upstreams/hardening/guard.cts'],
});
const schema = await build({
  ...common,
  format: 'cjs',
  stdin: { contents: compiled(JSON.parse(read('config.schema.json'))), resolveDir: root },
  outdir: undefined,
  outfile: 'dist/schemas/config.cjs',
});
writeFileSync(
  join(dist, 'THIRD-PARTY.md'),
  `# Packages that dist/ is built with\n\n${notices(packagesOf([modules, single, scripts, schema].map(({ metafile }) => metafile)))}`,
);
chmodSync(join(dist, 'main.cjs'), 0o755);
