/**
 * A real Secret Service on a bus of its own: `dbus-daemon` and `gnome-keyring-daemon`, in directories that go with the
 * test. It can be locked, stopped in its tracks, and started again as after a reboot.
 */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { type Ends, eventually } from './daemon.ts';

const passphrase = 'canary-of-the-keyring-itself';
const collection = '/org/freedesktop/secrets/collection/login';

/** What is not installed, as the reason for a skip; `false` when all is there. */
export const noSecretService: string | false = (() => {
  const absent = ['dbus-daemon', 'dbus-send', 'gnome-keyring-daemon'].filter(
    (tool) => spawnSync(tool, ['--version']).error !== undefined,
  );
  return absent.length > 0 && `needs ${absent.join(', ')} (packages dbus, gnome-keyring)`;
})();

export interface ServiceOptions {
  /** Root only. */
  readonly uid?: number;
  /** `absent`: every prompt is dismissed at once. `silent`: one is started and says nothing. */
  readonly prompter?: 'absent' | 'silent';
}

function busConfig(directory: string): string {
  return `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
  "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=${join(directory, 'run', 'bus')}</listen>
  <auth>EXTERNAL</auth>
  <servicedir>${join(directory, 'services')}</servicedir>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
`;
}

/** The last process of a group may take its time to go. */
async function endGroup(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  process.kill(-child.pid, 'SIGKILL');
  await exited;
}

export class SecretService {
  readonly directory: string;
  /** What a client needs to find it. */
  readonly env: Readonly<Record<string, string>>;
  readonly #options: ServiceOptions;
  #bus: ChildProcess | null = null;
  #keyring: ChildProcess | null = null;

  private constructor(options: ServiceOptions) {
    this.#options = options;
    this.directory = realpathSync(mkdtempSync(join(tmpdir(), 'ostiary-keyring-')));
    for (const name of ['home', 'run', 'services']) mkdirSync(join(this.directory, name), { mode: 0o700 });
    writeFileSync(join(this.directory, 'bus.conf'), busConfig(this.directory));
    if (options.prompter === 'silent')
      writeFileSync(
        join(this.directory, 'services', 'org.gnome.keyring.SystemPrompter.service'),
        '[D-BUS Service]\nName=org.gnome.keyring.SystemPrompter\nExec=/bin/sleep 300\n',
      );
    const { uid } = options;
    if (uid !== undefined)
      for (const name of ['.', 'home', 'run', 'services']) chownSync(join(this.directory, name), uid, uid);
    this.env = { DBUS_SESSION_BUS_ADDRESS: `unix:path=${join(this.directory, 'run', 'bus')}` };
  }

  /** Runs, and is unlocked. */
  static async start(ends: Ends, options: ServiceOptions = {}): Promise<SecretService> {
    const service = new SecretService(options);
    ends.after(async () => {
      await service.stop();
      rmSync(service.directory, { recursive: true, force: true });
    });
    await service.boot();
    return service;
  }

  /** Bus and keyring in the same directories as before; the passphrase is given as at a login. */
  async boot(): Promise<void> {
    this.#bus = this.#spawn('dbus-daemon', [
      `--config-file=${join(this.directory, 'bus.conf')}`,
      '--nofork',
      '--nopidfile',
      '--print-address=1',
    ]);
    await once(createInterface({ input: this.#bus.stdout as NodeJS.ReadableStream }), 'line');
    this.#keyring = this.#spawn('gnome-keyring-daemon', ['--foreground', '--unlock', '--components=secrets']);
    this.#keyring.stdin?.end(passphrase);
    await eventually('an unlocked keyring', async () => (await this.#isUnlocked()) || undefined);
  }

  /** As at the end of a session: nothing of it is left but its files. */
  async stop(): Promise<void> {
    for (const child of [this.#keyring, this.#bus]) if (child !== null) await endGroup(child);
  }

  /** The bus stays. */
  async stopKeyring(): Promise<void> {
    if (this.#keyring !== null) await endGroup(this.#keyring);
  }

  async lock(): Promise<void> {
    const service = ['/org/freedesktop/secrets', 'org.freedesktop.Secret.Service.Lock'];
    await this.#send(...service, `array:objpath:${collection}`);
  }

  /** It goes on to exist and answers nothing. */
  hang(): void {
    this.#keyring?.kill('SIGSTOP');
  }

  async #isUnlocked(): Promise<boolean> {
    const get = [collection, 'org.freedesktop.DBus.Properties.Get'];
    try {
      const wanted = ['string:org.freedesktop.Secret.Collection', 'string:Locked'];
      return (await this.#send(...get, ...wanted)).includes('boolean false');
    } catch {
      return false;
    }
  }

  async #send(...args: readonly string[]): Promise<string> {
    const all = ['--session', '--print-reply', '--dest=org.freedesktop.secrets', ...args];
    return (await promisify(execFile)('dbus-send', all, this.#as())).stdout;
  }

  #spawn(file: string, args: readonly string[]): ChildProcess {
    // A group of its own, with whatever the bus starts.
    return spawn(file, args, { ...this.#as(), stdio: ['pipe', 'pipe', 'ignore'], detached: true });
  }

  #as() {
    const { uid } = this.#options;
    return {
      cwd: '/',
      env: {
        ...this.env,
        PATH: '/usr/bin:/bin',
        HOME: join(this.directory, 'home'),
        XDG_RUNTIME_DIR: join(this.directory, 'run'),
        XDG_DATA_HOME: join(this.directory, 'home'),
      },
      ...(uid !== undefined && { uid, gid: uid }),
    };
  }
}
