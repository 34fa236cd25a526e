/** `ostiary serve`: the daemon in the foreground. `up` and `run` start it the same way. */
import { existsSync, readdirSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import type { Guests } from '../auth/guests.ts';
import { loadConfig } from '../config/load.ts';
import type { Config } from '../config/types.ts';
import { keychainFor } from '../credentials/keychain/keychain.ts';
import { daemonEnvironment, isCleanDaemonEnvironment } from '../environment.ts';
import { exitCodes, Failure } from '../errors.ts';
import { filledPipe, harden, notifyService, replaceProcess } from '../os/index.ts';
import { agentsDirectory, runtimeDirectory, stateDirectory } from '../paths.ts';
import { daemonFlags, referencedVariables } from './daemon-process.ts';
import { guestsOf } from './guests.ts';
import { packVariables, unpackSecrets, unpackVariables } from './handover.ts';
import { logWriter } from './log-output.ts';
import { mainFile } from './main-file.ts';
import { descriptorNumber } from './prompt.ts';
import { passphraseFdOption, unlockBy } from './vault.ts';

interface ServeOptions {
  readonly config?: string;
  readonly passphraseFd?: string;
  readonly envFd?: string;
  readonly secretsFd?: string;
  readonly auditOut?: string;
  readonly private?: string;
}

/**
 * Leaves the caller's environment behind, and with it whatever NODE_OPTIONS or a loader variable would do (I1). What
 * `env:` references name goes on through a pipe: it would stay readable in `/proc/PID/environ` until we are hardened.
 */
function reexecuteCleanly(config: Config, { passphraseFd, envFd, secretsFd }: ServeOptions): void {
  const given = [
    ...(passphraseFd === undefined ? [] : [descriptorNumber('--passphrase-fd', passphraseFd)]),
    ...(envFd === undefined ? [] : [descriptorNumber('--env-fd', envFd)]),
    ...(secretsFd === undefined ? [] : [descriptorNumber('--secrets-fd', secretsFd)]),
  ];
  const flagged = daemonFlags().every((flag) => process.execArgv.includes(flag));
  const variables = envFd === undefined ? packVariables(process.env, referencedVariables(config)) : null;
  if (flagged && variables === null && isCleanDaemonEnvironment(process.env)) return;
  const pipe = variables === null ? [] : [filledPipe(variables)];
  replaceProcess(
    process.execPath,
    [
      process.execPath,
      ...daemonFlags(),
      mainFile,
      ...process.argv.slice(2),
      ...pipe.flatMap((fd) => ['--env-fd', String(fd)]),
    ],
    daemonEnvironment(process.env),
    [...pipe, ...given],
  );
}

/** A private daemon removes its directory at its end, so there must be nothing in it but its own state. */
function checkEmpty(directory: string): void {
  const state = stateDirectory(process.env);
  if (existsSync(directory) && readdirSync(directory).some((name) => join(directory, name) !== state))
    throw new Failure('usage', '--private: expected an empty directory', { place: { file: directory } });
}

function admitted(config: Config): { who: Guests; directory: string } | null {
  const who = guestsOf(config);
  if (who === null) return null;
  const directory = agentsDirectory(process.env);
  if (directory !== null) return { who, directory };
  throw new Failure('config', 'listen.allow_uids: there is no directory that those users could reach', {
    hint: 'set XDG_RUNTIME_DIR, as the unit of `ostiary service` does',
  });
}

async function serve(options: ServeOptions): Promise<void> {
  const file = loadConfig({ config: options.config, env: process.env });
  // Several private daemons run at once: a fixed port, and other users' agents, are for the resident one.
  const config: Config =
    options.private === undefined ? file : { ...file, listen: { port: 0, allowUids: [], socketGroup: null } };
  if (options.private !== undefined) checkEmpty(options.private);
  reexecuteCleanly(config, options);
  // Loaded here, not above: whoever is re-executed would load it twice.
  const { Daemon } = await import('../daemon.ts');
  const hardening = harden();
  // A signal between exec and now may have opened the inspector, and with it this process to every local user (A6).
  if (hardening.some(({ measure, inForce }) => measure === 'inspector' && !inForce))
    throw new Failure('daemon', 'the inspector of this process is open', { hint: 'start it again' });
  const variables = options.envFd === undefined ? {} : unpackVariables(options.envFd);
  const runtime = options.private ?? runtimeDirectory(process.env);
  const daemon = await Daemon.start({
    config,
    stateDirectory: stateDirectory(process.env),
    runtimeDirectory: runtime,
    guests: admitted(config),
    env: { ...process.env, ...variables },
    // An agent's call is no reason to show a prompt of the keychain.
    unlock: { ...unlockBy(options), keychain: keychainFor(process.env) },
    hardening,
    ...(options.secretsFd === undefined ? {} : { given: unpackSecrets(options.secretsFd) }),
    ...(options.auditOut === undefined ? {} : { auditCopy: options.auditOut }),
    writeLog: logWriter(2),
  });
  // Node would print the error's text as it is; the log scrubs it, and nothing half-broken goes on holding secrets (D5).
  process.on('uncaughtException', (error) => {
    daemon.crashed(error);
    process.exitCode = exitCodes.failure;
  });
  const notify = process.env.NOTIFY_SOCKET;
  // However it ends: the service manager would take a process that is still draining for a hung one.
  void daemon.stopping.then(() => notifyService(notify, 'STOPPING=1'));
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const)
    process.on(signal, () => void daemon.stop(signal));
  if (options.private !== undefined) {
    // A private daemon lives as long as the `run` that holds the other end of its standard input.
    process.stdin.on('close', () => void daemon.stop('its run ended')).resume();
  }
  writeSync(1, `${JSON.stringify(daemon.ready())}\n`);
  notifyService(notify, 'READY=1');
  await daemon.stopped;
  if (options.private !== undefined) rmSync(options.private, { recursive: true, force: true });
  process.exit(process.exitCode ?? 0);
}

export function serveCommand(): Command {
  return new Command('serve')
    .description('run the daemon in the foreground; prints one line of JSON when it is ready')
    .option('--config <file>', 'configuration file')
    .option(...passphraseFdOption)
    .option('--env-fd <n>', 'read what env: references name, as a JSON object, from this descriptor')
    .option(
      '--secrets-fd <n>',
      'read secrets, as a JSON object of base64, from this descriptor; kept in memory alone',
    )
    .option('--audit-out <directory>', 'copy the audit log into this directory at the end')
    .option('--private <directory>', 'end with standard input, and keep sockets in this directory')
    .action(serve);
}
