/**
 * Real clients against a real daemon: each connects by shim and by HTTP, lists tools, and has a tool called that shows
 * the upstream's environment, the secret in it. What version they agree on is read off the wire.
 */
import { spawn } from 'node:child_process';
import { appendFileSync, chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { mainFile } from '../../src/cli/main-file.ts';
import { packageRoot } from '../../src/paths.ts';
import { finished, Home, lives } from '../e2e/home.ts';
import { install } from '../support/install.ts';
import { type Canary, canary, scanForLeaks } from '../support/leaks.ts';
import { everythingServer } from '../support/servers.ts';
import { type Client, clients, type Setting, type Transport, type Turn } from './clients.ts';
import { HttpTap } from './http-tap.ts';
import { Models } from './models.ts';
import { type Era, type Fact, type Negotiation, negotiated, toolsListed, wasCalled } from './wire.ts';

/** One row to be run. */
export interface Case {
  readonly client: Client;
  readonly transport: Transport;
  /** `everything` speaks legacy revisions alone, `modern` both eras. */
  readonly upstream: 'everything' | 'modern';
  /** The only era that will do. */
  readonly era?: Era;
}

const transports = ['shim', 'http'] as const;

export const cases: readonly Case[] = [
  ...[clients.claude, clients.codex, clients.gemini, clients.opencode, clients.inspectorLegacy].flatMap(
    (client) => transports.map((transport) => ({ client, transport, upstream: 'everything' }) as const),
  ),
  // These know the stateless protocol, and have to find it.
  ...[clients.inspectorAuto, clients.inspectorModern, clients.claude].flatMap((client) =>
    transports.map(
      (transport) => ({ client, transport, upstream: 'modern', era: 'server/discover' }) as const,
    ),
  ),
];

export interface Row {
  readonly client: string;
  readonly version: string;
  readonly transport: Transport;
  readonly upstream: string;
  readonly negotiation: Negotiation | null;
  /** Value of the `MCP-Protocol-Version` header of later requests; `null` for none. */
  readonly header: string | null;
  readonly tools: number;
  /** A `tools/call` was answered, and its redacted result reached the client. */
  readonly called: boolean;
  /** Hosts off this machine that the client wanted, and did not get. */
  readonly strangers: readonly string[];
  readonly status: 'passed' | 'failed' | 'skipped';
  readonly why: string;
  readonly seconds: number;
}

const turnMs = 60_000;
const scanMs = 100;
/** What ostiary puts where the secret was. */
const redacted = '[redacted vault:key]';

/** A daemon with its upstreams, and the scripted model, for any number of rows. */
export class Bench {
  readonly #secret: Canary = canary('clients');
  readonly #ends: (() => Promise<void>)[] = [];
  readonly #home = new Home({ after: (end) => void this.#ends.push(end) });
  #models: Models | undefined;
  #url = '';
  #rows = 0;

  static async start(): Promise<Bench> {
    const bench = new Bench();
    try {
      await bench.#open();
      return bench;
    } catch (error) {
      await bench.stop();
      throw error;
    }
  }

  async #open(): Promise<void> {
    const secrets = { API_KEY: 'vault:key' };
    const modern = join(packageRoot, 'test', 'clients', 'modern-server.mjs');
    this.#home.configure({
      everything: { ...everythingServer(), secrets },
      modern: { command: process.execPath, args: [modern], secrets },
    });
    await this.#home.secret('key', this.#secret);
    await this.#home.up();
    this.#url = (JSON.parse(await this.#home.ok(['status', '--json'])) as { url: string }).url;
    this.#models = await Models.start();
    this.#ends.push(() => this.#models?.stop() ?? Promise.resolve());
  }

  async stop(): Promise<void> {
    for (const end of this.#ends.reverse()) await end();
  }

  async run(row: Case): Promise<Row> {
    const { client, transport, upstream } = row;
    const base = { client: client.name, transport, upstream, version: '' };
    const nothing = { negotiation: null, header: null, tools: 0, called: false, strangers: [], seconds: 0 };
    const installed = install(client.manifests, client.optional);
    if ('skip' in installed) return { ...base, ...nothing, status: 'skipped', why: installed.skip };
    const modules = join(installed.directory, 'node_modules');
    const executable = join(modules, client.executable);
    if (!existsSync(executable))
      return {
        ...base,
        ...nothing,
        status: 'skipped',
        why: `no binary for ${process.platform}-${process.arch}`,
      };
    const manifest = readFileSync(join(modules, client.package, 'package.json'), 'utf8');
    const { version } = JSON.parse(manifest) as { version: string };
    return { ...base, version, ...(await this.#judged(row, executable)) };
  }

  async #judged(
    row: Case,
    executable: string,
  ): Promise<Omit<Row, 'client' | 'version' | 'transport' | 'upstream'>> {
    const began = performance.now();
    const tap = await HttpTap.start(this.#url);
    const strangers = this.#models?.strangers ?? new Set();
    strangers.clear();
    let outcome: Outcome;
    try {
      outcome = await this.#turns(row, executable, tap);
    } finally {
      await tap.stop();
    }
    const { facts, outputs, leaks, failure } = outcome;
    const negotiation = negotiated(facts);
    const called = wasCalled(facts) && outputs.some((output) => output.includes(redacted));
    const seen = {
      negotiation,
      header: facts.findLast(({ header }) => header !== undefined)?.header ?? null,
      tools: toolsListed(facts),
      called,
      strangers: [...strangers].sort(),
      seconds: (performance.now() - began) / 1000,
    };
    const wrong =
      leaks.length > 0
        ? `the secret leaked: ${leaks.join(', ')}`
        : negotiation === null
          ? `it did not connect${failure}`
          : row.era !== undefined && negotiation.era !== row.era
            ? `it opened with ${negotiation.era}, not ${row.era}`
            : seen.tools === 0
              ? `it listed no tools${failure}`
              : called
                ? null
                : `it called no tool${failure}`;
    return { ...seen, status: wrong === null ? 'passed' : 'failed', why: wrong ?? '' };
  }

  async #turns({ client, transport, upstream }: Case, executable: string, tap: HttpTap): Promise<Outcome> {
    const place = join(this.#home.scratch, `row-${++this.#rows}`);
    const [home, work, bin] = ['home', 'home/work', 'bin'].map((name) => join(place, name)) as [
      string,
      string,
      string,
    ];
    for (const path of [work, bin]) mkdirSync(path, { recursive: true, mode: 0o700 });
    const factsFile = join(place, 'facts');
    appendFileSync(factsFile, '');
    const tapFile = join(dirname(fileURLToPath(import.meta.url)), 'stdio-tap.js');
    const shimTap = [process.execPath, tapFile, factsFile];
    writeOstiary(join(bin, 'ostiary'), shimTap);
    const setting: Setting = {
      transport,
      upstream,
      home,
      work,
      endpoint: tap.url,
      models: this.#models?.url ?? '',
      tap: shimTap,
      session: (...flags) => this.#home.ok(['session', 'new', '--label', basename(place), ...flags]),
    };
    const outputs: string[] = [];
    const leaks: string[] = [];
    let failure = '';
    for (const turn of await client.turns(setting)) {
      const { output, code, leaked } = await this.#turn(executable, turn, setting, bin);
      outputs.push(output);
      leaks.push(...leaked);
      if (code !== 0) failure ||= `: ${code === null ? 'timed out' : `exit code ${code}`}: ${gist(output)}`;
    }
    const files = scanForLeaks([this.#secret], { files: [place], texts: outputs });
    leaks.push(...files.map(({ place, form }) => `${place} (${form})`));
    const fromShim = readFileSync(factsFile, 'utf8').split('\n').filter(Boolean);
    const facts = [...tap.facts, ...fromShim.map((line) => JSON.parse(line) as Fact)];
    return { facts, outputs, leaks: [...new Set(leaks)], failure };
  }

  /** Runs a command to its end, and looks into the environment of all its processes all the while. */
  async #turn(executable: string, turn: Turn, { home, work, models }: Setting, bin: string): Promise<Ended> {
    const [command, ...first] = executable.endsWith('.js') ? [process.execPath, executable] : [executable];
    const child = spawn(command ?? '', [...first, ...turn.args], {
      cwd: work,
      // A group of its own: whatever the client leaves behind ends with it.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        HOME: home,
        PATH: `${bin}:${dirname(process.execPath)}:/usr/local/bin:/usr/bin:/bin`,
        TMPDIR: join(home, 'work'),
        TERM: 'dumb',
        NO_COLOR: '1',
        HTTP_PROXY: models,
        HTTPS_PROXY: models,
        NO_PROXY: '127.0.0.1,localhost',
        ...turn.env,
      },
    });
    const { pid } = child;
    if (pid === undefined) throw new Error(`cannot start ${executable}`);
    const leaked: string[] = [];
    const look = (): void => {
      if (lives(pid)) leaked.push(...this.#leaksOf(pid));
    };
    look();
    const looking = setInterval(look, scanMs);
    const deadline = setTimeout(() => endGroup(pid), turnMs);
    const { code, stdout, stderr } = await finished(child);
    clearInterval(looking);
    clearTimeout(deadline);
    endGroup(pid);
    return { code, output: stdout + stderr, leaked };
  }

  #leaksOf(pid: number): string[] {
    try {
      return scanForLeaks([this.#secret], { pids: [pid] }).map(({ place, form }) => `${place} (${form})`);
    } catch (error) {
      if (!lives(pid)) return [];
      throw error;
    }
  }
}

interface Outcome {
  readonly facts: readonly Fact[];
  readonly outputs: readonly string[];
  readonly leaks: readonly string[];
  readonly failure: string;
}

interface Ended {
  readonly code: number | null;
  readonly output: string;
  readonly leaked: readonly string[];
}

/** `ostiary` as a user has it on the PATH, but listened to. */
function writeOstiary(path: string, tap: readonly string[]): void {
  const words = [...tap, process.execPath, mainFile].map((word) => `'${word}'`).join(' ');
  writeFileSync(path, `#!/bin/sh\nexec ${words} "$@"\n`);
  chmodSync(path, 0o755);
}

function endGroup(pgid: number): void {
  try {
    process.kill(-pgid, 'SIGKILL');
  } catch {
    // Nothing of it is left.
  }
}

/** The end of what a client said, on one line. */
function gist(output: string): string {
  return output.trim().split('\n').slice(-3).join(' | ').slice(-300);
}
