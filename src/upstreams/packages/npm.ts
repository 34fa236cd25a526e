/** The npm that came with the Node that runs us, by itself: no shell, no PATH, nobody else's environment or directory. */
import { spawn } from 'node:child_process';
import { existsSync, realpathSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fixedPath, sealedForSpawn } from '../../environment.ts';
import { Failure } from '../../errors.ts';
import { checkAncestors, readTrusted } from '../../files.ts';
import { limits } from '../../limits.ts';

/** Beside the Node: of nodejs.org's archives and most managers of versions; of Debian. */
const PLACES = ['../lib/node_modules/npm/bin/npm-cli.js', '../share/nodejs/npm/bin/npm-cli.js'];

function npmScript(): string {
  const beside = dirname(realpathSync(process.execPath));
  const found = PLACES.map((place) => join(beside, place)).find((path) => existsSync(path));
  if (found === undefined)
    throw new Failure('failure', 'the Node that runs ostiary has no npm beside it', {
      place: { file: beside },
      hint: 'install npm for it, or name an installed server with command and args',
    });
  const script = realpathSync(found);
  const { uid, mode } = statSync(script);
  if ((uid !== 0 && uid !== process.getuid?.()) || (mode & 0o022) !== 0)
    throw new Failure('config', 'npm can be changed by others', { place: { file: script } });
  checkAncestors(script);
  return script;
}

/** Registries, tokens for them, proxies: the user's own file, if nobody else can have written it. */
function userConfig(home: string | undefined, none: string): string {
  if (home === undefined) return none;
  const file = join(home, '.npmrc');
  return readTrusted(file, 'shared-read') === null ? none : file;
}

/** What npm said of its failure: its own lines, without the path of a log that is gone. */
function complaint(said: string): string {
  const lines = said
    .split('\n')
    .filter((line) => /^npm (?:error|ERR!) /.test(line) && !line.includes('complete log'))
    .map((line) => line.replace(/^npm (?:error|ERR!) (?:code )?/, ''));
  return lines.join('; ').slice(0, limits.problemChars) || 'npm said nothing';
}

/**
 * Runs npm in `directory`, which is ours and empty but for what it is to work on. Scripts of packages are not run.
 * @param home where the user's `.npmrc` is
 * @throws {Failure} with what npm said
 */
export async function npm(
  args: readonly string[],
  directory: string,
  home: string | undefined,
): Promise<void> {
  const aside = join(directory, '.npm');
  const none = join(directory, '.npmrc-none');
  writeFileSync(none, '', { mode: 0o600 });
  const settings = {
    'ignore-scripts': 'true',
    audit: 'false',
    fund: 'false',
    'update-notifier': 'false',
    'logs-max': '0',
    cache: aside,
    userconfig: userConfig(home, none),
    globalconfig: none,
  };
  const options = Object.entries(settings).map(([name, value]) => `--${name}=${value}`);
  const child = spawn(process.execPath, [npmScript(), ...args, ...options], {
    cwd: directory,
    env: sealedForSpawn({ PATH: fixedPath(), HOME: directory, TMPDIR: directory }),
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: limits.packageInstallMs,
    killSignal: 'SIGKILL',
  });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-limits.npmWordsBytes);
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  if (code !== 0) throw new Failure('failure', `npm could not install it: ${complaint(said)}`);
}
