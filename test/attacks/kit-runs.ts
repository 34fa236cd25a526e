/**
 * The attack kit at each level, as an ordinary user with a real Secret Service, and against a naive proxy. What comes out
 * is the table of SECURITY.md.
 */
import { spawn, spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Verdict } from '../../src/cli/doctor/attack/judge.ts';
import { finished } from '../e2e/home.ts';
import { type Ends, mainFile } from '../support/daemon.ts';
import { noSecretService, SecretService } from '../support/secret-service.ts';

export const levels = ['naive', 'L0', 'bubblewrap', 'landlock'] as const;
export type Level = (typeof levels)[number];

export interface KitReport {
  readonly level: string;
  readonly attacks: readonly (Verdict & { readonly title: string })[];
}

export interface KitRun {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** `null` when there was no attack: `stderr` says why. */
  readonly report: KitReport | null;
  /** What is still there of it afterwards. */
  readonly left: readonly string[];
}

/** Somebody of whom the system knows: dbus-daemon answers nobody else. Our own uid unless we are root. */
function ordinaryUid(): number | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const uids = readFileSync('/etc/passwd', 'utf8').split('\n');
  return uids.map((line) => Number(line.split(':')[2])).find((uid) => uid > 0 && uid < 65534);
}

const hasSetpriv = spawnSync('setpriv', ['--version']).error === undefined;

/** People are in several groups, and upstreams have namespaces of their own only then. */
export const severalGroups = process.getuid?.() === 0 ? hasSetpriv : new Set(process.getgroups?.()).size > 1;

/** The command that becomes this user, in a second group as well. */
function becoming(uid: number): string[] {
  const groups = `${uid},${uid + 1}`;
  return hasSetpriv ? ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, `--groups=${groups}`] : [];
}

/** A home where homes are: `/tmp` would be hidden from the agent for being `/tmp`. */
function makeHome(ends: Ends, uid: number | undefined): { HOME: string; XDG_RUNTIME_DIR: string } {
  const above = process.getuid?.() === 0 && existsSync('/home') ? '/home' : homedir();
  const home = mkdtempSync(join(above, '.o-'));
  ends.after(async () => rmSync(home, { recursive: true, force: true }));
  const runtime = join(home, 'r');
  mkdirSync(runtime, { mode: 0o700 });
  if (uid !== undefined) for (const path of [home, runtime]) chownSync(path, uid, uid);
  return { HOME: home, XDG_RUNTIME_DIR: runtime };
}

const naive = fileURLToPath(new URL('./kit-naive.js', import.meta.url));

function programOf(level: Level): string[] {
  if (level === 'naive') return [naive];
  return [mainFile, 'doctor', '--attack', '--json', '--isolation', level === 'L0' ? 'none' : level];
}

export class Attacked {
  readonly #ends: Ends;
  readonly #uid: number | undefined;
  readonly #bus: Readonly<Record<string, string>>;

  private constructor(ends: Ends, uid: number | undefined, bus: Readonly<Record<string, string>>) {
    this.#ends = ends;
    this.#uid = uid;
    this.#bus = bus;
  }

  /** A user who may be attacked. */
  static async make(ends: Ends): Promise<Attacked> {
    const uid = ordinaryUid();
    if (noSecretService !== false) return new Attacked(ends, uid, {});
    const service = await SecretService.start(ends, uid === undefined ? {} : { uid });
    return new Attacked(ends, uid, service.env);
  }

  at(level: Level): Promise<KitRun> {
    return this.#run(programOf(level), this.#uid);
  }

  /** A17 alone, which needs root; anything else of root is not an ordinary user's. */
  asStranger(): Promise<KitRun> {
    return this.#run([...programOf('L0'), '--only', 'A17'], undefined);
  }

  async #run(program: readonly string[], uid: number | undefined): Promise<KitRun> {
    const home = makeHome(this.#ends, uid);
    const [command, ...args] = [...(uid === undefined ? [] : becoming(uid)), process.execPath, ...program];
    const child = spawn(command as string, args, {
      cwd: '/',
      env: { PATH: '/usr/local/bin:/usr/bin:/bin', ...home, ...this.#bus },
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(uid !== undefined && becoming(uid).length === 0 && { uid, gid: uid }),
    });
    const { code, stdout, stderr } = await finished(child);
    const report = stdout.startsWith('{') ? (JSON.parse(stdout) as KitReport) : null;
    const left = readdirSync(home.HOME, { recursive: true })
      .map(String)
      .filter((path) => path !== 'r');
    return { code, stdout, stderr, report, left };
  }
}

/** A17 does not depend on the agent's sandbox: it is tried once, and counts for every level of ours. */
function withStranger(run: KitRun, stranger: KitRun): KitRun {
  if (run.report === null || stranger.report === null) return run;
  const others = run.report.attacks.filter(({ attack }) => attack !== 'A17');
  return { ...run, report: { ...run.report, attacks: [...others, ...stranger.report.attacks] } };
}

/** Every level, two at a time. */
export async function allRuns(ends: Ends): Promise<Record<Level, KitRun>> {
  const attacked = await Attacked.make(ends);
  // The naive proxy opens inspectors, of which a machine has one at a time.
  const [naive, bubblewrap] = await Promise.all([attacked.at('naive'), attacked.at('bubblewrap')]);
  const [L0, landlock, stranger] = await Promise.all([
    attacked.at('L0'),
    attacked.at('landlock'),
    attacked.asStranger(),
  ]);
  return {
    naive,
    L0: withStranger(L0, stranger),
    bubblewrap: withStranger(bubblewrap, stranger),
    landlock: withStranger(landlock, stranger),
  };
}
