/** The secrets that a job hands to `run --ci`, and where it has them: standard input, files, variables. */
import { closeSync, constants, fstatSync, openSync, readFileSync, unlinkSync } from 'node:fs';
import { resolve } from 'node:path';
import { rawSecretBytes } from '../../credentials/value.ts';
import type { Environment } from '../../environment.ts';
import { Failure } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { parseSecrets, withoutLineEnd } from './secrets-text.ts';

export interface SecretOptions {
  /** `NAME=file:PATH` or `NAME=env:VARIABLE`. */
  readonly secret: readonly string[];
  /** Names of variables, which are names of secrets too. */
  readonly secretEnv: readonly string[];
  readonly secretsStdin?: boolean;
  /** Delete the files: see {@link consumed}. */
  readonly consume?: boolean;
}

export interface JobSecrets {
  /** By name; the caller overwrites them. */
  readonly values: Map<string, Buffer>;
  /** Variables that some came from. */
  readonly variables: readonly string[];
  /** Absolute paths of files that some came from and that are still there. */
  readonly files: readonly string[];
}

type Source =
  | { readonly from: 'file'; readonly path: string }
  | { readonly from: 'env'; readonly variable: string };

/** `text` may be a secret by mistake, so it is not repeated. */
function parseSource(text: string): { name: string; source: Source } {
  const [, name, from, rest] = /^([^=]+)=(file|env):(.+)$/s.exec(text) ?? [];
  if (name === undefined || from === undefined || rest === undefined)
    throw new Failure('usage', '--secret: expected NAME=file:PATH or NAME=env:VARIABLE', {
      hint: 'a value never stands on a command line: --secrets-stdin takes NAME=VALUE lines',
    });
  return {
    name,
    source: from === 'file' ? { from, path: resolve(rest) } : { from: 'env', variable: rest },
  };
}

function readVariable(name: string, env: Environment): Buffer {
  const value = Object.hasOwn(env, name) ? env[name] : undefined;
  if (value === undefined || value === '')
    throw new Failure('credential', `variable ${name} is not set, or empty`, {
      hint: 'a CI system leaves a secret empty that this job or branch may not have',
    });
  return Buffer.from(value);
}

/** Not the trusted files of the configuration: a CI system makes them as it likes, and who changes one gives another value. */
function readSecretFile(path: string): Buffer {
  const place = { file: path };
  let descriptor: number;
  try {
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Failure('credential', `the file of a secret cannot be read: ${code}`, { place, cause: error });
  }
  try {
    const stats = fstatSync(descriptor);
    if (!stats.isFile())
      throw new Failure('credential', 'the file of a secret is no regular file', { place });
    if (stats.size > rawSecretBytes)
      throw new Failure('credential', `a secret is longer than ${limits.secretBytes} bytes`, { place });
    return withoutLineEnd(readFileSync(descriptor));
  } finally {
    closeSync(descriptor);
  }
}

/** Standard input is nobody's any more: what is started later could rewind a file, and read the secrets again. */
function closeStdin(): void {
  closeSync(0);
  if (openSync('/dev/null', constants.O_RDONLY) !== 0) throw new Error('descriptor 0 was not free');
}

async function readStdin(): Promise<Map<string, Buffer>> {
  if (process.stdin.isTTY)
    throw new Failure('usage', '--secrets-stdin: standard input is a terminal', {
      hint: 'printf \'NAME=%s\\n\' "$NAME" | ostiary run --ci --secrets-stdin -- AGENT',
    });
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin) {
    chunks.push(chunk as Buffer);
    size += (chunk as Buffer).length;
    if (size > limits.trustedFileBytes)
      throw new Failure('usage', `--secrets-stdin: more than ${limits.trustedFileBytes} bytes`);
  }
  const bytes = Buffer.concat(chunks);
  for (const chunk of chunks) chunk.fill(0);
  closeStdin();
  try {
    return parseSecrets(bytes);
  } finally {
    bytes.fill(0);
  }
}

/** @throws {Failure} naming the secret, variable, file or line, never a value */
export async function readSecrets(options: SecretOptions, env: Environment): Promise<JobSecrets> {
  const values = new Map<string, Buffer>();
  const add = (name: string, value: Buffer): void => {
    if (values.has(name)) throw new Failure('usage', `${name} is given twice`);
    values.set(name, value);
  };
  const variables: string[] = [];
  const files: string[] = [];
  const wanted = [
    ...options.secret.map(parseSource),
    ...options.secretEnv.map((name) => ({ name, source: { from: 'env', variable: name } as const })),
  ];
  for (const { name, source } of wanted)
    if (source.from === 'file') {
      add(name, readSecretFile(source.path));
      files.push(source.path);
    } else {
      add(name, readVariable(source.variable, env));
      variables.push(source.variable);
    }
  if (options.secretsStdin === true) for (const [name, value] of await readStdin()) add(name, value);
  return { values, variables, files };
}

/** Deletes the files. */
export function consumed({ values, variables, files }: JobSecrets): JobSecrets {
  for (const path of new Set(files)) unlinkSync(path);
  return { values, variables, files: [] };
}
