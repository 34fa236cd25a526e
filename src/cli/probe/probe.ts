/**
 * Starts one upstream as the daemon would, with fake secrets in the place of its own, uses what it offers for reading, and
 * notes where the fakes come to light. No real secret is acquired: there is no broker here. Nothing is redacted either: what
 * the upstream says is searched as it comes.
 */
import { join } from 'node:path';
import { placementsOf } from '../../config/credentials.ts';
import type { UpstreamConfig } from '../../config/types.ts';
import { type CredentialRef, formatCredentialRef } from '../../credentials/ref.ts';
import { Scrubber } from '../../credentials/scrubber.ts';
import type { Secret } from '../../credentials/secret.ts';
import { isRefusal } from '../../errors.ts';
import { privateDirectory } from '../../files.ts';
import { matchGlob } from '../../glob.ts';
import { isObject } from '../../jsonrpc.ts';
import { limits } from '../../limits.ts';
import { Watchdog } from '../../os/watchdog.ts';
import { bridge } from '../../upstreams/bridge/bridge.ts';
import { type ConnectorPorts, connector } from '../../upstreams/connector.ts';
import { eraFallback } from '../../upstreams/era-fallback.ts';
import { ToolHeaders } from '../../upstreams/http/tool-headers.ts';
import type { OpenTransport } from '../../upstreams/transport.ts';
import { leastArguments } from './arguments.ts';
import { ProbeClient, type Reply } from './client.ts';
import { Fakes } from './fakes.ts';
import { hitsIn } from './messages.ts';
import { processesOf, searchFiles } from './places.ts';

export interface Surfaced {
  /** The reference in whose place the fake was given. */
  readonly credential: string;
  readonly form: string;
  readonly place: 'message' | 'stderr' | 'argv' | 'environment' | 'file';
  /** The method and tool, the process, the path. */
  readonly where: string;
  /** In a message: the member. In an environment: the variable. */
  readonly member?: string;
}

export interface ProbeReport {
  readonly upstream: string;
  readonly credentials: readonly { readonly into: string; readonly from: string; readonly as: string }[];
  /** Why it could not be used, or `null`. */
  readonly problem: string | null;
  readonly called: readonly { readonly tool: string; readonly outcome: string }[];
  /** Tools that were not called, for they are not marked as reading only. */
  readonly skipped: readonly string[];
  readonly surfaced: readonly Surfaced[];
  /** What was not searched. */
  readonly notes: readonly string[];
}

export interface ProbeOptions {
  /** Name or glob of tools; without one, those that are marked as reading only. */
  readonly tools?: string | undefined;
  readonly messageBytes: number;
  /** A private directory of ours, empty, which the caller removes. */
  readonly directory: string;
  /** Of the caller; the child gets what every upstream gets of it. */
  readonly env: NodeJS.ProcessEnv;
}

interface Tool {
  readonly name: string;
  readonly readOnly: boolean;
  readonly inputSchema: unknown;
}

/** Asked for whatever the server says it can: an error may hold a secret, too. */
const lists = ['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list'] as const;

function toolOf(value: unknown): Tool[] {
  if (!isObject(value) || typeof value.name !== 'string') return [];
  const readOnly = isObject(value.annotations) && value.annotations.readOnlyHint === true;
  return [{ name: value.name, readOnly, inputSchema: value.inputSchema }];
}

class Probe {
  readonly #upstream: UpstreamConfig;
  readonly #options: ProbeOptions;
  readonly #fakes: Fakes;
  readonly #work: string;
  readonly #home: string;
  readonly #pids = new Set<number>();
  readonly #surfaced = new Map<string, Surfaced>();
  readonly #notes = new Set<string>();
  /** What was asked last: whatever is heard, is heard because of that, or at least since. */
  #asking = 'its start';
  #problem: string | null = null;
  readonly #called: { tool: string; outcome: string }[] = [];
  #skipped: string[] = [];

  constructor(upstream: UpstreamConfig, options: ProbeOptions) {
    this.#upstream = upstream;
    this.#options = options;
    this.#fakes = new Fakes(placementsOf(upstream));
    this.#work = privateDirectory(join(options.directory, 'work'));
    // A cached login of a fake would take the place of a real one, and what is written there should be found.
    this.#home = privateDirectory(join(options.directory, 'home'));
  }

  async run(guard: Watchdog): Promise<void> {
    const looking = setInterval(() => this.#lookAtProcesses(), limits.probeLookMs);
    const connections = connector(this.#upstream, this.#ports(guard), new ToolHeaders());
    try {
      const client = await ProbeClient.open(this.#upstream.name, this.#open(connections.open('probe')));
      if (isRefusal(client)) this.#problem ??= client.reason;
      else {
        await this.#use(client);
        this.#lookAtProcesses();
        this.#lookAtFiles();
        await client.stop();
      }
      this.#lookAtFiles();
    } finally {
      clearInterval(looking);
      connections.close();
    }
  }

  report(): ProbeReport {
    return {
      upstream: this.#upstream.name,
      credentials: placementsOf(this.#upstream).map(({ into, ref, as }) => ({
        into,
        from: formatCredentialRef(ref),
        as,
      })),
      problem: this.#problem,
      called: this.#called,
      skipped: this.#skipped,
      surfaced: [...this.#surfaced.values()],
      notes: [...this.#notes],
    };
  }

  #ports(guard: Watchdog): ConnectorPorts {
    const { messageBytes, env } = this.#options;
    const http = this.#upstream.transport !== 'stdio';
    return {
      acquire: (ref: CredentialRef) => Promise.resolve(this.#fakes.acquire(ref)),
      freshness: { isDue: () => false, refused: () => false },
      // A child's stderr is to come as it is; what headers are made of is to be found.
      scrubber: http ? new Derived(this.#fakes) : new Scrubber(),
      // A hardened child could not be looked into.
      hardener: null,
      hardened: () => {},
      guard,
      env: { ...env, HOME: this.#home },
      workDirectory: this.#work,
      foreignWorkDirectory: null,
      messageBytes,
      started: ({ pid }) => {
        if (pid !== undefined) this.#pids.add(pid);
      },
      exited: () => {},
      problem: (_upstream, message) => {
        this.#problem ??= message;
      },
      stderr: (_upstream, line) => {
        if (/^\[(?:a line of )?\d+ (?:bytes|lines)/.test(line))
          this.#notes.add('some of its standard error was too much to be searched');
        for (const hit of this.#fakes.find(line))
          this.#note({ ...hit, place: 'stderr', where: this.#asking });
      },
      noise: () =>
        this.#notes.add(
          'it printed what is no message on standard output: not searched, agents never see it',
        ),
    };
  }

  /** As a session would, but with every message of the server shown as it comes. */
  #open(connect: OpenTransport): OpenTransport {
    const shown: OpenTransport = (grant, events) =>
      connect(grant, {
        ...events,
        onMessage: (message) => {
          const { kind, method } = message.envelope;
          const what = kind === 'response' ? 'answer to' : `${kind} ${this.#safe(method)} during`;
          for (const { member, ...hit } of hitsIn(message.bytes, this.#fakes))
            this.#note({
              ...hit,
              place: 'message',
              where: `${what} ${this.#asking}`,
              member: this.#safe(member),
            });
          events.onMessage(message);
        },
      });
    switch (this.#upstream.era) {
      case 'legacy':
        return shown;
      case 'modern':
        return bridge(shown);
      case 'auto':
        return eraFallback(shown);
    }
  }

  async #use(client: ProbeClient): Promise<void> {
    const { startTimeoutMs, callTimeoutMs } = this.#upstream;
    const timeoutMs = Math.min(callTimeoutMs, limits.probeCallMs);
    this.#asking = 'initialize';
    const hello = await client.initialize(startTimeoutMs);
    if (hello.outcome !== 'result') {
      this.#problem ??= `initialize: ${hello.why}`;
      return;
    }
    const tools: Tool[] = [];
    for (const method of lists)
      for (const page of await this.#pages(client, method, timeoutMs))
        if (method === 'tools/list' && Array.isArray(page.tools)) tools.push(...page.tools.flatMap(toolOf));
    for (const tool of this.#choose(tools)) {
      const args = leastArguments(tool.inputSchema);
      const reply = await this.#ask(client, `tools/call ${this.#safe(tool.name)}`, 'tools/call', timeoutMs, {
        name: tool.name,
        arguments: args,
      });
      const outcome =
        reply.outcome === 'result' ? (reply.result.isError === true ? 'error' : 'ok') : reply.why;
      this.#called.push({ tool: this.#safe(tool.name), outcome });
    }
  }

  /** What is not marked as reading only is called if it is named, and by no glob: annotations are all that we know. */
  #choose(tools: readonly Tool[]): Tool[] {
    const { tools: glob } = this.#options;
    const wanted = glob === undefined ? tools : tools.filter(({ name }) => matchGlob(glob, name));
    const chosen = wanted.filter(({ name, readOnly }) => readOnly || name === glob);
    this.#skipped = wanted.filter((tool) => !chosen.includes(tool)).map(({ name }) => this.#safe(name));
    return chosen;
  }

  async #pages(client: ProbeClient, method: string, timeoutMs: number): Promise<Record<string, unknown>[]> {
    const pages: Record<string, unknown>[] = [];
    let cursor: unknown;
    do {
      const params = cursor === undefined ? {} : { cursor };
      const reply = await this.#ask(client, method, method, timeoutMs, params);
      if (reply.outcome !== 'result') break;
      pages.push(reply.result);
      cursor = reply.result.nextCursor;
    } while (typeof cursor === 'string' && pages.length < limits.listPages);
    return pages;
  }

  async #ask(
    client: ProbeClient,
    asking: string,
    method: string,
    timeoutMs: number,
    params: Record<string, unknown>,
  ): Promise<Reply> {
    this.#asking = asking;
    const reply = await client.request(method, params, timeoutMs);
    this.#lookAtProcesses();
    return reply;
  }

  #lookAtProcesses(): void {
    for (const { name, first, argv, environ } of processesOf([...this.#pids], this.#options.directory)) {
      const where = first ? 'the upstream itself' : `${this.#safe(name)}, which it started`;
      for (const hit of this.#fakes.find(argv)) this.#note({ ...hit, place: 'argv', where });
      // Its own environment is where a secret belongs, or where it may put one that it read elsewhere.
      if (first) continue;
      for (const variable of environ)
        for (const hit of this.#fakes.find(variable))
          this.#note({
            ...hit,
            place: 'environment',
            where,
            member: this.#safe(variable.split('=')[0] ?? ''),
          });
    }
  }

  #lookAtFiles(): void {
    const { directory } = this.#options;
    searchFiles(
      directory,
      // Ours: the files that it was given.
      (path) => /^\/work\/[^/]+\/secrets$/.test(path.slice(directory.length)),
      (path, text) => {
        const where = this.#safe(path.slice(directory.length).replace(/^\/work\/[^/]+/, ''));
        for (const hit of this.#fakes.find(text)) this.#note({ ...hit, place: 'file', where });
      },
      (path) => this.#notes.add(`${this.#safe(path.slice(directory.length))}: too large to be searched`),
    );
  }

  /** Names that the upstream chose, without the fake and without what could steer a terminal. */
  #safe(name: string): string {
    if (this.#fakes.find(name).length > 0) return '…';
    return name.replace(/\p{C}/gu, '?').slice(0, limits.problemChars);
  }

  #note(surfaced: Surfaced): void {
    const { credential, form, place, where, member } = surfaced;
    this.#surfaced.set([credential, form, place, where, member].join('\0'), surfaced);
  }
}

/** Hands what is derived from fakes to their search; finds nothing itself. */
class Derived extends Scrubber {
  readonly #fakes: Fakes;

  constructor(fakes: Fakes) {
    super();
    this.#fakes = fakes;
  }

  override add(derived: Secret): { readonly redactable: true } {
    return this.#fakes.add(derived);
  }
}

/** @param upstream its configuration; `disabled` ones too, for they may be probed before they are used */
export async function probeUpstream(upstream: UpstreamConfig, options: ProbeOptions): Promise<ProbeReport> {
  const guard = Watchdog.start();
  try {
    const probe = new Probe(upstream, options);
    await probe.run(guard);
    return probe.report();
  } finally {
    await guard.close();
  }
}
