/** `ostiary upstream`: what one does with its secret, tried with a fake one; and the packages that are to be installed. */
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { placementsOf } from '../config/credentials.ts';
import { loadConfig } from '../config/load.ts';
import type { Config, UpstreamConfig } from '../config/types.ts';
import { Failure } from '../errors.ts';
import { privateDirectory } from '../files.ts';
import { tryLockFile } from '../os/index.ts';
import { runtimeDirectory } from '../paths.ts';
import { installIfNeeded, packagedUpstreams } from './packages.ts';
import { type ProbeReport, probeUpstream, type Surfaced } from './probe/probe.ts';

interface ProbeCommandOptions {
  readonly config?: string;
  readonly tools?: string;
  readonly json?: true;
  readonly yes?: true;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Everything that it leaves is in one directory, locked like that of a private daemon: a later `run` removes what is left. */
async function inOwnDirectory<T>(work: (directory: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(privateDirectory(runtimeDirectory(process.env)), 'run-'));
  const lock = openSync(join(directory, 'daemon.lock'), 'a', 0o600);
  try {
    tryLockFile(lock);
    return await work(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
    closeSync(lock);
  }
}

function configured(config: Config, name: string): UpstreamConfig {
  const upstream = config.upstreams.get(name);
  if (upstream !== undefined) return upstream;
  throw new Failure('usage', `no upstream ${JSON.stringify(name)} is configured`, {
    hint: `there are: ${[...config.upstreams.keys()].join(', ') || 'none'}`,
  });
}

function chosen(
  name: string,
  options: ProbeCommandOptions,
): { upstream: UpstreamConfig; messageBytes: number } {
  const config = loadConfig({ config: options.config, env: process.env });
  const upstream = configured(config, name);
  if (placementsOf(upstream).length === 0)
    throw new Failure('usage', `upstream ${name} is given no secret: there is nothing to probe`);
  if (upstream.transport !== 'stdio' && options.yes === undefined)
    throw new Failure(
      'usage',
      `a probe sends a fake credential to ${new URL(upstream.url).origin}: it may be logged, counted, or locked out there`,
      { hint: `ostiary upstream probe ${name} --yes` },
    );
  return { upstream, messageBytes: config.limits.messageBytes };
}

function describe({ place, where, member, form, credential }: Surfaced): string {
  const at = member === undefined || member === '' ? '' : `, at ${member}`;
  const places: Readonly<Record<Surfaced['place'], string>> = {
    message: `${where}${at}`,
    stderr: `standard error, around ${where}`,
    argv: `arguments of ${where}`,
    environment: `environment of ${where}${at}`,
    file: `file ${where}`,
  };
  return `surfaced    ${credential}: ${places[place]}; ${form}`;
}

function printReport(report: ProbeReport): void {
  const { upstream, credentials, called, skipped, surfaced, notes } = report;
  const given = credentials.map(({ into, from }) => `${into} (${from})`).join(', ');
  print(`upstream    ${upstream}, with a fake value in ${given}`);
  for (const { tool, outcome } of called) print(`called      ${tool}: ${outcome}`);
  if (called.length === 0) print('called      no tool');
  if (skipped.length > 0)
    print(`not called  ${skipped.join(', ')}: not marked as reading only; --tools NAME calls one`);
  for (const one of surfaced) print(describe(one));
  if (surfaced.length === 0) print('surfaced    nowhere but in its own environment, where a secret belongs');
  for (const note of notes) print(`note        ${note}`);
}

async function probe(name: string, options: ProbeCommandOptions): Promise<void> {
  const { upstream, messageBytes } = chosen(name, options);
  const report = await inOwnDirectory((directory) =>
    probeUpstream(upstream, { tools: options.tools, messageBytes, directory, env: process.env }),
  );
  if (options.json) print(JSON.stringify(report, null, 2));
  else printReport(report);
  const places = report.surfaced.length;
  if (places > 0)
    throw new Failure(
      'failure',
      `the secret of ${name} surfaced in ${places} place${places === 1 ? '' : 's'}`,
      {
        hint: 'what agents see of it is redacted; docs/credentials.md says what is not',
      },
    );
  if (report.problem !== null)
    throw new Failure('upstream', `upstream ${name} could not be probed: ${report.problem}`, {
      hint: 'a server that checks its credential before it answers cannot be; call a tool of it by ostiary call',
    });
}

async function install(names: readonly string[], options: { readonly config?: string }): Promise<void> {
  const config = loadConfig({ config: options.config, env: process.env });
  const named = names.map((name) => configured(config, name));
  const wanted = packagedUpstreams(names.length === 0 ? config.upstreams.values() : named);
  const other = named.find((each) => !wanted.some(({ name }) => name === each.name));
  if (other !== undefined)
    throw new Failure('usage', `upstream ${other.name} is no package: there is nothing to install`);
  if (wanted.length === 0) print('no upstream is a package');
  for (const upstream of wanted) await installIfNeeded(upstream, print);
}

export function upstreamCommand(): Command {
  const command = new Command('upstream').description(
    'find out what an upstream does with its secret; install the packages of upstreams',
  );
  command
    .command('install')
    .description('install the packages of upstreams, as up and run do, or anew what has changed on disk')
    .argument('[NAME...]', 'all, unless some are named')
    .option('--config <file>', 'configuration file')
    .action(install);
  command
    .command('probe')
    .description(
      'start an upstream with a fake secret, use what only reads, and list where the secret surfaced',
    )
    .argument('<NAME>')
    .option('--config <file>', 'configuration file')
    .option('--tools <glob>', 'call only these tools; one that is not marked as reading only has to be named')
    .option('--json', 'the report as one JSON object')
    .option('--yes', 'send the fake credential to a server behind a URL')
    .action(probe);
  return command;
}
