/** `ostiary service`: the daemon under systemd, for one user or as a user of its own. Writes files; starts nothing. */
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { Command, Option } from 'commander';
import { Failure } from '../errors.ts';
import { writeAtomic } from '../files.ts';
import { packageRoot } from '../paths.ts';
import { mainFile } from './main-file.ts';

interface Choice {
  readonly system?: boolean;
  readonly user?: boolean;
}

interface ServiceFile {
  readonly path: string;
  readonly text: string;
}

/** In a unit, white space and quotes separate, % and $ are replaced (systemd.service(5), "COMMAND LINES"). */
function plain(path: string): string {
  if (/^\/[\w@+.,:/-]+$/.test(path)) return path;
  throw new Failure('usage', 'expected a path without blanks and signs that systemd replaces', {
    place: { file: path },
    hint: 'install ostiary and Node in another directory',
  });
}

function template(name: string): string {
  return readFileSync(join(packageRoot, 'packaging', 'systemd', name), 'utf8')
    .replaceAll('@NODE@', plain(process.execPath))
    .replaceAll('@MAIN@', plain(mainFile));
}

/** A service of the system sees no home, and should run nothing that an ordinary user may change. */
function checkSystemWide(): void {
  for (const path of [process.execPath, mainFile])
    if (/^\/(?:home|root|run\/user|tmp)\//.test(path))
      throw new Failure('usage', 'the system service cannot use what lies in a home or temporary directory', {
        place: { file: path },
        hint: 'install both for all users: sudo npm install --global ostiary, with a Node of the system',
      });
}

function filesOf({ system = false, user = false }: Choice): ServiceFile[] {
  if (system === user) throw new Failure('usage', 'expected one of --system and --user');
  if (user) {
    const config = process.env.XDG_CONFIG_HOME ?? join(homedir(), '.config');
    return [
      {
        path: join(config, 'systemd', 'user', 'ostiary.service'),
        text: template('ostiary-user.service'),
      },
    ];
  }
  return [
    { path: '/etc/systemd/system/ostiary.service', text: template('ostiary.service') },
    { path: '/etc/sysusers.d/ostiary.conf', text: template('ostiary-sysusers.conf') },
  ];
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function printFiles(choice: Choice): void {
  for (const { path, text } of filesOf(choice)) print(`# ${path}\n${text}`);
}

function write({ path, text }: ServiceFile): void {
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeAtomic(path, text, 0o644);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Failure('failure', `cannot be written: ${code}`, {
      place: { file: path },
      ...(code === 'EACCES' ? { hint: 'sudo ostiary service install --system' } : {}),
    });
  }
}

function install(choice: Choice & { force?: boolean }): void {
  const files = filesOf(choice);
  if (choice.system) checkSystemWide();
  for (const { path, text } of files)
    if (choice.force !== true && existsSync(path) && readFileSync(path, 'utf8') !== text)
      throw new Failure('usage', 'there is another file already', {
        place: { file: path },
        hint: 'compare it with: ostiary service print; --force replaces it',
      });
  for (const file of files) {
    write(file);
    print(`wrote ${file.path}`);
  }
  const next = choice.system
    ? [
        'systemd-sysusers && systemctl daemon-reload',
        `its key, configuration and secrets: ${join(packageRoot, 'docs', 'shared-host.md')}`,
        'systemctl enable --now ostiary',
      ]
    : ['systemctl --user daemon-reload', 'systemctl --user enable --now ostiary'];
  for (const step of next) print(`next: ${step}`);
}

function uninstall(choice: Choice): void {
  for (const { path } of filesOf(choice)) {
    if (!existsSync(path)) continue;
    rmSync(path);
    print(`removed ${path}`);
  }
  print(`next: systemctl ${choice.system ? '' : '--user '}disable --now ostiary`);
}

function command(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .addOption(new Option('--system', 'a service of the system, under the user ostiary'))
    .addOption(new Option('--user', 'a service of your own user'));
}

export function serviceCommand(): Command {
  return new Command('service')
    .description('run the daemon under systemd')
    .addCommand(command('print', 'print the unit and what belongs to it').action(printFiles))
    .addCommand(
      command('install', 'write the unit and what belongs to it; starts nothing')
        .option('--force', 'replace a file that differs')
        .action(install),
    )
    .addCommand(command('uninstall', 'remove what install wrote').action(uninstall));
}
