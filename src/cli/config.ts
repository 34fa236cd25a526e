/** `ostiary config`: check the configuration, find it, start one. Reads files and asks nobody; runs without a daemon. */
import { existsSync, readFileSync } from 'node:fs';
import { Command } from 'commander';
import { placementsOf } from '../config/credentials.ts';
import { exampleConfig } from '../config/example.ts';
import { loadConfig, locateConfig } from '../config/load.ts';
import { ConfigError, formatProblems } from '../config/problem.ts';
import { schemaFile } from '../config/shape.ts';
import type { Config, RuleConfig, UpstreamConfig } from '../config/types.ts';
import { configWarnings } from '../config/warnings.ts';
import { formatCredentialRef } from '../credentials/ref.ts';
import { formatPlace } from '../errors.ts';
import { manner } from './manner.ts';

interface CheckOptions {
  readonly config?: string;
  readonly json?: boolean;
}

function print(text: string): void {
  process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
}

function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2));
}

function ruleText({ effect, upstream, ...kinds }: RuleConfig): string {
  const limited = Object.entries(kinds).map(([kind, globs]) => ` ${kind} ${globs.join(' ')}`);
  return `${effect} ${upstream}${limited.join(',')}`;
}

/** Without the query, in which people put keys. */
function endpointOf(url: string): string {
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
}

/** What runs, or is reached. */
function programOf(upstream: UpstreamConfig): { command: string } | { package: string } | { url: string } {
  if (upstream.transport !== 'stdio') return { url: endpointOf(upstream.url) };
  if (upstream.package === null) return { command: upstream.command };
  return { package: `${upstream.package.name}@${upstream.package.version}` };
}

/** What the configuration says, for a person or a program: names and references, no literal values. */
function summarize(config: Config) {
  return {
    file: config.file,
    upstreams: [...config.upstreams.values()].map((upstream) => ({
      name: upstream.name,
      transport: upstream.transport,
      lifecycle: upstream.lifecycle,
      ...programOf(upstream),
      secrets: placementsOf(upstream).map(({ into, ref, as }) => ({
        into,
        from: formatCredentialRef(ref),
        as,
      })),
    })),
    profiles: [...config.profiles.values()].map(({ name, rules }) => ({ name, rules: rules.map(ruleText) })),
    warnings: configWarnings(config),
  };
}

function printSummary({ file, upstreams, profiles, warnings }: ReturnType<typeof summarize>): void {
  print(file === null ? 'no configuration file; the configuration is empty' : `${file}: ok`);
  for (const { name, lifecycle, secrets, ...one } of upstreams) {
    const program = 'url' in one ? one.url : 'package' in one ? `package ${one.package}` : one.command;
    print(`upstream ${name}: ${program}${lifecycle === 'session' ? '' : ` (${lifecycle})`}`);
    for (const { into, from, as } of secrets) print(`  ${into} from ${from}${manner[as]}`);
  }
  for (const { name, rules } of profiles) {
    print(`profile ${name}:${rules.length === 0 ? ' nothing is allowed' : ''}`);
    for (const rule of rules) print(`  ${rule}`);
  }
  for (const warning of warnings) process.stderr.write(`ostiary: warning: ${warning}\n`);
}

function check(options: CheckOptions): void {
  let config: Config;
  try {
    config = loadConfig({ config: options.config, env: process.env });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const { problems } = error;
    if (options.json)
      printJson({ ok: false, problems: problems.map(({ place, message }) => ({ ...place, message })) });
    else process.stderr.write(`${formatProblems(error)}\n`);
    const [first, ...others] = problems;
    // Every problem has been printed; the exit code and the count are what is left to say.
    if (first === undefined) throw error;
    throw new ConfigError(
      [first, ...others],
      problems.length === 1 ? '1 problem' : `${problems.length} problems`,
    );
  }
  const summary = summarize(config);
  if (options.json) printJson({ ok: true, ...summary });
  else printSummary(summary);
}

function path(options: CheckOptions): void {
  const { file, from } = locateConfig({ config: options.config, env: process.env });
  const reasons = {
    '--config': 'named by --config',
    OSTIARY_CONFIG: 'named by OSTIARY_CONFIG',
    default: 'the default place',
  };
  // The path alone on stdout, so that `$EDITOR "$(ostiary config path)"` works.
  print(file);
  process.stderr.write(
    `ostiary: ${formatPlace({ file })}: ${reasons[from]}${existsSync(file) ? '' : '; does not exist'}\n`,
  );
}

/** `config check`, `config path`, `config schema`, `config example`. */
export function configCommand(): Command {
  const command = new Command('config').description('check the configuration file, find it, start one');
  command
    .command('check')
    .description('report every problem of the configuration, or what it says')
    .option('--config <file>', 'configuration file')
    .option('--json', 'machine-readable output')
    .action(check);
  command
    .command('path')
    .description('show which file is read, and why')
    .option('--config <file>', 'configuration file')
    .action(path);
  command
    .command('schema')
    .description('show where the JSON Schema of the configuration is, for an editor')
    .option('--print', 'print the schema itself')
    .action((options: { print?: boolean }) =>
      print(options.print ? readFileSync(schemaFile, 'utf8') : schemaFile),
    );
  command
    .command('example')
    .description('print a configuration to start from')
    .action(() => print(exampleConfig()));
  return command;
}
