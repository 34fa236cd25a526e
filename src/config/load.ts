/**
 * Which file is the configuration, and what it says.
 *
 * The file decides which programs run with which secrets, so it is looked for where only its user can put it: named on
 * the command line, named by `OSTIARY_CONFIG`, or in the user's configuration directory. Never in the working
 * directory, which may be a repository that somebody else wrote (I3).
 */
import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { isAbsolute, resolve } from 'node:path';
import { Failure } from '../errors.ts';
import { readTrusted } from '../files.ts';
import { defaultConfigFile, stateDirectory } from '../paths.ts';
import { buildConfig, type RawConfig } from './build.ts';
import { describe, type Finding } from './finding.ts';
import { ConfigError, type Problem } from './problem.ts';
import { checkRules } from './rules.ts';
import { checkShape } from './shape.ts';
import { readSource, type Source } from './source.ts';
import type { Config } from './types.ts';

/** Hundreds of upstreams need 100 KiB; parsing takes some hundred times the memory of the file. */
const MAX_BYTES = 1024 * 1024;

export interface ConfigOptions {
  /** Value of `--config`. */
  readonly config?: string | undefined;
  readonly env: NodeJS.ProcessEnv;
}

export interface ConfigLocation {
  /** Absolute path. */
  readonly file: string;
  readonly from: '--config' | 'OSTIARY_CONFIG' | 'default';
}

/**
 * Says which file {@link loadConfig} reads, whether or not it exists. `--config` may be relative, for a person typed
 * it; `OSTIARY_CONFIG` may not, for it would mean another file in each working directory (I3).
 */
export function locateConfig({ config, env }: ConfigOptions): ConfigLocation {
  if (config !== undefined) {
    if (config === '') throw new Failure('usage', '--config: expected a path, got empty text');
    return { file: resolve(config), from: '--config' };
  }
  const named = env.OSTIARY_CONFIG;
  if (named === undefined) return { file: defaultConfigFile(env), from: 'default' };
  if (!isAbsolute(named))
    throw new Failure('config', `OSTIARY_CONFIG: expected an absolute path, got ${describe(named, '')}`, {
      hint: 'unset OSTIARY_CONFIG, or name the file with --config',
    });
  return { file: named, from: 'OSTIARY_CONFIG' };
}

/** Ties a finding to its line. */
function toProblem({ pointer, at, child, message }: Finding, source: Source): Problem {
  return { place: source.place(pointer, at, child), message };
}

/** One problem for each key: the first one, for a pattern also fails where a rule of ours has more to say. */
function firstOfEach(problems: readonly Problem[]): Problem[] {
  const seen = new Map<string, Problem>();
  for (const problem of problems) {
    const { line, column, key } = problem.place;
    const id = `${line}:${column}:${key}`;
    if (!seen.has(id)) seen.set(id, problem);
  }
  return [...seen.values()];
}

/**
 * Parses and checks the text of a configuration; `file` is its path, for messages and for {@link Config.file}.
 * @param state our state directory
 * @throws {ConfigError} with every problem of the text
 */
export function parseConfig(text: string, file: string, state: string = stateDirectory(process.env)): Config {
  const source = readSource(text, file);
  const problems = [...source.problems];
  if (source.readable) {
    const findings = [...checkRules(source.value), ...checkShape(source.value)];
    problems.push(...findings.map((finding) => toProblem(finding, source)));
  }
  if (problems.length > 0) throw new ConfigError(firstOfEach(problems));
  const digest = createHash('sha256').update(text).digest('hex');
  return buildConfig(source.value as RawConfig, { file, digest }, state);
}

function decode(bytes: Buffer, file: string): string {
  const fail = (line: number, message: string): never => {
    throw new ConfigError([{ place: { file, line, column: 1 }, message }]);
  };
  if (bytes.length > MAX_BYTES) fail(1, `expected at most ${MAX_BYTES} bytes, got ${bytes.length}`);
  if (!isUtf8(bytes)) {
    let line = 1;
    for (let start = 0; start < bytes.length; line++) {
      const newline = bytes.indexOf(0x0a, start);
      const end = newline < 0 ? bytes.length : newline;
      if (!isUtf8(bytes.subarray(start, end))) break;
      start = end + 1;
    }
    fail(line, 'expected UTF-8 text, got other bytes');
  }
  return bytes.toString('utf8').replace(/^\u{feff}/u, '');
}

/**
 * Finds, reads and checks the configuration. A file that was named must exist; without one, and without a file at the
 * default place, the configuration is empty.
 * @throws {ConfigError} with every problem of the file
 * @throws {Failure} when others could have written it (I2)
 */
export function loadConfig(options: ConfigOptions): Config {
  const { file, from } = locateConfig(options);
  const bytes = readTrusted(file, 'shared-read');
  const state = stateDirectory(options.env);
  if (bytes !== null) return parseConfig(decode(bytes, file), file, state);
  if (from === 'default') return buildConfig({ version: 1 }, { file: null, digest: null }, state);
  throw new Failure('config', 'file does not exist', {
    place: { file },
    hint:
      from === '--config'
        ? 'ostiary config example prints a starter'
        : 'OSTIARY_CONFIG names it; unset it or create the file',
  });
}
