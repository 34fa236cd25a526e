/**
 * Starts each upstream as an agent would: by the daemon, with its real secrets, judged and recorded. So what is tried here
 * is what is used later, and no secret of theirs comes into this process.
 */
import { join } from 'node:path';
import type { Config, UpstreamConfig } from '../../../config/types.ts';
import { Failure } from '../../../errors.ts';
import { limits } from '../../../limits.ts';
import type { ControlClient } from '../../control.ts';
import { findDaemon } from '../../find-daemon.ts';
import type { StatusReport } from '../../lifecycle.ts';
import { McpClient } from '../../mcp-client.ts';
import { type Check, within } from '../check.ts';
import { type Context, configOf, needsKeychain } from '../context.ts';
import { type Finding, fine, problem, problemOf } from '../finding.ts';

interface Ports {
  readonly client: ControlClient;
  /** The state directory. */
  readonly state: string;
}

/** Of all the work, what is left for the daemon's own end. */
const startingMs = limits.doctorUpstreamsMs - limits.upstreamGraceMs - 2_000;

async function whyFailed(client: ControlClient, name: string): Promise<string | null> {
  const { upstreams } = await client.status<StatusReport>();
  const { lastProblem = null, lastExit = null } = upstreams.find((one) => one.name === name) ?? {};
  return lastProblem ?? lastExit;
}

/** The command in what was said, if there is one. */
function adviceIn(text: string): string | null {
  return /\bostiary (?:secret|auth|vault|up)\b[^;,)]*/.exec(text)?.[0].trim() ?? null;
}

/** What tells more: a stdio server's standard error is in the log; of an HTTP server nothing is. */
function whereToLook(upstream: UpstreamConfig, state: string): string {
  if (upstream.transport === 'stdio')
    return `grep '"upstream":"${upstream.name}"' ${join(state, 'daemon.log')} | tail`;
  // Without the query, in which people put keys.
  const { origin, pathname } = new URL(upstream.url);
  return `see whether it can be reached from here: curl -sv -o /dev/null ${origin}${pathname}`;
}

async function failed(upstream: UpstreamConfig, message: string, { client, state }: Ports): Promise<Finding> {
  const { name } = upstream;
  const more = await whyFailed(client, name).catch(() => null);
  const said = more === null || message.includes(more) ? message : `${message}: ${more}`;
  const text = said.replace(/ \(try: [^)]*\)$/, '');
  return problem(
    'upstream.failed',
    text.includes(name) ? text : `${name}: ${text}`,
    adviceIn(said) ?? whereToLook(upstream, state),
  );
}

async function tryOne(upstream: UpstreamConfig, socket: string, ports: Ports): Promise<Finding> {
  const { name, startTimeoutMs } = upstream;
  const mcp = new McpClient(socket, name);
  const patience = Math.min(startTimeoutMs, limits.doctorUpstreamMs);
  const began = performance.now();
  try {
    const late = await within(
      mcp.initialize().then(() => false),
      patience,
      () => true,
    );
    if (!late) return fine('upstream.ok', `${name}: answered in ${Math.round(performance.now() - began)} ms`);
    return problem(
      'upstream.no-answer',
      `${name}: no answer to initialize within ${patience / 1000} s`,
      whereToLook(upstream, ports.state),
    );
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return failed(upstream, error.message, ports);
  } finally {
    // Its end waits for that of the upstream: not here.
    void mcp.close();
  }
}

/** A few at once; the findings are in the order of the upstreams. */
async function inTurn(
  upstreams: readonly UpstreamConfig[],
  deadline: number,
  work: (upstream: UpstreamConfig) => Promise<Finding>,
): Promise<Finding[]> {
  const waiting = [...upstreams.entries()];
  const found: Finding[] = [];
  const worker = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [index, upstream] = next;
      found[index] =
        performance.now() > deadline
          ? fine('upstream.unchecked', `${upstream.name}: no time was left; ostiary list ${upstream.name}`)
          : await work(upstream);
    }
  };
  await Promise.all(Array.from({ length: limits.doctorUpstreamsAtOnce }, worker));
  return found;
}

/** An upstream is tried in the first profile that has it. */
async function throughProfiles(
  upstreams: readonly UpstreamConfig[],
  config: Config,
  ports: Ports,
): Promise<Finding[]> {
  const { client } = ports;
  const deadline = performance.now() + startingMs - limits.doctorUpstreamMs;
  const profiles = config.profiles.size === 0 ? ['default'] : [...config.profiles.keys()];
  const found: Finding[] = [];
  let left = upstreams;
  for (const profile of profiles) {
    if (left.length === 0) break;
    const { report, release } = await client.lease({ profile, label: 'ostiary doctor', token: false });
    const here = left.filter(({ name }) => report.upstreams.includes(name));
    left = left.filter((upstream) => !here.includes(upstream));
    try {
      found.push(...(await inTurn(here, deadline, (upstream) => tryOne(upstream, report.socket, ports))));
    } finally {
      await release();
    }
  }
  const hidden = left.map(({ name }) =>
    problem(
      'upstream.not-allowed',
      `${name}: no profile allows it, so no agent sees it`,
      'ostiary config check',
    ),
  );
  return [...found, ...hidden];
}

/** Why none is started, or `null`. */
async function heldBack(context: Context): Promise<string | null> {
  if (context.options.offline === true) return '--offline';
  if (!context.koffi) return 'no daemon starts without koffi';
  if ((await context.resident()).state === 'running') return null;
  if ((await context.vault()).state === 'sealed') return 'the vault is sealed';
  // Whoever starts a daemon lets a person unlock the keychain, and waits for that.
  if ((await needsKeychain(context)) && (await context.keychain()) !== null)
    return 'the keychain gives nothing';
  return null;
}

async function judge(context: Context): Promise<Finding[]> {
  const config = configOf(context);
  if (config === null || config.upstreams.size === 0) return [];
  const all = [...config.upstreams.values()];
  const disabled = all
    .filter(({ lifecycle }) => lifecycle === 'disabled')
    .map(({ name }) => fine('upstream.disabled', `${name}: disabled in the configuration`));
  const enabled = all.filter(({ lifecycle }) => lifecycle !== 'disabled');
  const reason = await heldBack(context);
  if (reason !== null)
    return [
      ...disabled,
      ...enabled.map(({ name }) => fine('upstream.unchecked', `${name}: not started: ${reason}`)),
    ];
  try {
    const daemon = await findDaemon(context.daemonChoice());
    try {
      return [
        ...disabled,
        ...(await throughProfiles(enabled, config, { client: daemon.client, state: context.state })),
      ];
    } finally {
      await daemon.release();
    }
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return [problemOf('upstream.no-daemon', error, 'tail daemon.log in the state directory'), ...disabled];
  }
}

export const upstreams: Check = {
  group: 'upstreams',
  title: 'the upstreams',
  deadlineMs: limits.doctorUpstreamsMs,
  run: judge,
};
