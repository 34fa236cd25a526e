/**
 * What a correct configuration may still get wrong on this machine: programs that are missing, or that others can
 * replace and so run code with the upstream's secrets; and secrets that may stand in the file itself.
 */
import { accessSync, constants, existsSync, realpathSync, statfsSync, statSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { Failure, formatPlace } from '../errors.ts';
import { checkAncestors } from '../files.ts';
import { runtimeDirectory } from '../paths.ts';
import { credentialRefs } from './credentials.ts';
import { soundsSecret } from './http.ts';
import type { Config, HttpUpstreamConfig, StdioUpstreamConfig } from './types.ts';

/** Why others could replace the file at `path`, or why it cannot be used; `null` when it is fine. */
function judgeProgram(path: string, executable: boolean): string | null {
  try {
    const real = realpathSync(path);
    const stats = statSync(real);
    if (!stats.isFile()) return executable ? 'is not a file' : null;
    if (executable) accessSync(real, constants.X_OK);
    const own = process.getuid?.();
    if (stats.uid !== 0 && stats.uid !== own) return `is owned by uid ${stats.uid}, who could replace it`;
    if ((stats.mode & 0o022) !== 0) return `is writable by others; chmod go-w ${real}`;
    checkAncestors(real);
    return null;
  } catch (error) {
    if (error instanceof Failure)
      return `could be replaced by others: ${error.place ? `${formatPlace(error.place)}: ` : ''}${error.message}`;
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') return 'does not exist';
    return code === 'EACCES' && executable ? 'is not executable' : `cannot be read: ${code}`;
  }
}

/** The script of an interpreter: the first argument that is no option, when it is a path. */
function* judgeScript({ command, args }: StdioUpstreamConfig): Generator<string> {
  const index = args.findIndex((arg) => !arg.startsWith('-'));
  const script = args[index];
  if (script === undefined) return;
  if (script.startsWith('/')) {
    const reason = judgeProgram(script, false);
    if (reason !== null) yield `args[${index}]: file ${reason}`;
  } else if (command === process.execPath || /^(node|bun|python[0-9.]*)$/.test(basename(command)))
    yield `args[${index}]: expected an absolute path; upstreams run in an empty directory`;
}

/** Types of file systems that keep nothing on a disk: tmpfs and ramfs (statfs(2)). */
const IN_MEMORY: ReadonlySet<number> = new Set([0x01021994, 0x858458f6]);

/** The nearest directory above `path` that is there decides: what is made in it is on its file system. */
function isInMemory(path: string): boolean {
  if (existsSync(path)) return IN_MEMORY.has(statfsSync(path).type);
  return path !== '/' && isInMemory(dirname(path));
}

function* judgeFiles({ files }: StdioUpstreamConfig): Generator<string> {
  const runtime = runtimeDirectory(process.env);
  if (process.platform === 'linux' && Object.keys(files).length > 0 && !isInMemory(runtime))
    yield `files: are on a disk while a child runs, for ${runtime} is no memory file system; set XDG_RUNTIME_DIR to one, or use fds`;
}

/** `--token=x`, and not `--token-file=x`: every local user can read it. */
function* judgeArguments({ args }: StdioUpstreamConfig): Generator<string> {
  for (const [index, arg] of args.entries()) {
    const name = /^--?([\w-]+)=./.exec(arg)?.[1] ?? '';
    if (soundsSecret(name) && !/file|path|dir|fd|env|url|uri/i.test(name))
      yield `args[${index}]: sounds like a secret, which every local user can read; see whether the server takes it as a variable, under secrets`;
  }
}

function* judgeHardening({ hardening }: StdioUpstreamConfig): Generator<string> {
  if (hardening === 'off')
    yield 'hardening: is off; every process of your user can read the secrets of this upstream';
  if (hardening === 'process')
    yield 'hardening: leaves the namespace out; what this upstream starts may outlive ostiary';
}

/** What may be a secret in the file, for everybody to read who may read it. */
function* judgeLiterals({ url, headers }: HttpUpstreamConfig): Generator<string> {
  for (const name of Object.keys(headers))
    if (soundsSecret(name)) yield `headers.${name}: sounds like a secret; name it under secrets`;
  for (const name of new Set(new URL(url).searchParams.keys()))
    if (soundsSecret(name))
      yield 'url: a parameter sounds like a secret; see whether the server takes it as a header, under secrets';
}

function* upstreamsAndHelpers(config: Config): Generator<string> {
  for (const { name, command } of config.helpers.values()) {
    const reason = command[0] === undefined ? null : judgeProgram(command[0], true);
    if (reason !== null) yield `helpers.${name}.command[0]: file ${reason}`;
  }
  for (const upstream of config.upstreams.values()) {
    if (upstream.lifecycle === 'disabled') continue;
    if (upstream.transport === 'stdio') {
      const reason = judgeProgram(upstream.command, true);
      if (upstream.package !== null && !existsSync(upstream.package.directory)) {
        yield `upstreams.${upstream.name}.package: is not installed; ostiary upstream install ${upstream.name}`;
        continue;
      }
      if (reason !== null) yield `upstreams.${upstream.name}.command: file ${reason}`;
    }
    const more =
      upstream.transport === 'stdio'
        ? [
            ...judgeScript(upstream),
            ...judgeArguments(upstream),
            ...judgeFiles(upstream),
            ...judgeHardening(upstream),
          ]
        : judgeLiterals(upstream);
    for (const warning of more) yield `upstreams.${upstream.name}.${warning}`;
  }
}

/** Warnings, one line each; an empty array when there is nothing to say. Looks at the disk, runs nothing. */
export function configWarnings(config: Config): string[] {
  const warnings: string[] = [];
  if (config.upstreams.size === 0) warnings.push('upstreams: none is configured; agents get no tools');
  else if (config.profiles.size === 0)
    warnings.push('profiles: none is configured; every agent may call everything of every upstream');
  else if (!config.profiles.has('default'))
    warnings.push('profiles: no default; every session has to name its profile');

  const used = new Set<string>();
  for (const ref of credentialRefs(config)) if (ref.source === 'command') used.add(ref.helper);
  for (const name of config.helpers.keys())
    if (!used.has(name)) warnings.push(`helpers.${name}: no upstream uses it`);

  return [...warnings, ...upstreamsAndHelpers(config)];
}
