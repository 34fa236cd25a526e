/** `down`, `status`: the resident daemon. */
import { Command } from 'commander';
import type { Isolation } from '../agents/sandbox/isolation.ts';
import type { Placement } from '../config/credentials.ts';
import type { LoginStatus } from '../credentials/oauth/login-status.ts';
import { Failure } from '../errors.ts';
import { limits } from '../limits.ts';
import { controlSocket, runtimeDirectory } from '../paths.ts';
import { ControlClient } from './control.ts';
import { levelOf } from './level.ts';
import { manner } from './manner.ts';
import { residentDaemon } from './resident-daemon.ts';

interface Measure {
  readonly measure: string;
  readonly inForce: boolean;
  readonly detail?: string;
}

export interface StatusReport {
  readonly pid: number;
  readonly version: string;
  readonly url: string | null;
  readonly config: string | null;
  readonly state: string;
  readonly uptimeMs: number;
  readonly policy: string | readonly string[];
  /** The configured one; `run --isolation` may ask for another. */
  readonly isolation: Isolation;
  readonly hardening: readonly Measure[];
  readonly sessions: number;
  /** Kind of binding → sessions. */
  readonly bindings: Readonly<Record<string, number>>;
  /** Where other users' agents come in, and whose. */
  readonly guests: { readonly socket: string; readonly uids: readonly number[] } | null;
  readonly conversations: number;
  readonly upstreams: readonly {
    name: string;
    transport: 'stdio' | 'http' | 'sse';
    lifecycle: string;
    era: string | null;
    connections: number;
    running: readonly number[];
    starts: number;
    lastExit: string | null;
    lastProblem: string | null;
    hardening: readonly Measure[];
    state: 'closed' | 'open' | 'half-open';
    failures: number;
    retryAfterSeconds: number;
  }[];
  readonly credentials: readonly {
    label: string;
    redactable: boolean;
    expiresAt?: string;
    refreshAt?: string;
  }[];
  readonly logins: readonly LoginStatus[];
  /** Which secret goes where. */
  readonly placements: readonly { upstream: string; into: string; from: string; as: Placement['as'] }[];
  readonly audit: { readonly file: string; readonly seq: number };
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function alive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function down(): Promise<void> {
  const client = new ControlClient(controlSocket(runtimeDirectory(process.env)));
  if ((await residentDaemon()) === null)
    throw new Failure('daemon', 'no daemon is running', { hint: 'ostiary up starts one' });
  const { pid } = await client.status<StatusReport>();
  await client.shutdown();
  const deadline = Date.now() + limits.daemonStopMs;
  while (alive(pid) && Date.now() < deadline)
    await new Promise((resolve) => setTimeout(resolve, limits.pollMs));
  if (alive(pid))
    throw new Failure('daemon', `the daemon (pid ${pid}) did not stop in ${limits.daemonStopMs / 1000} s`, {
      hint: `kill -KILL ${pid}; its upstreams end with it`,
    });
  print('ostiary is down');
}

function duration(ms: number): string {
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 1) return `${Math.floor(ms / 1000)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 1 ? `${minutes} min` : `${hours} h ${minutes % 60} min`;
}

function describeUpstream(one: StatusReport['upstreams'][number]): string {
  if (one.lifecycle === 'disabled') return 'disabled';
  const open = one.transport === 'stdio' ? `${one.running.length} running` : `${one.connections} connected`;
  const parts = [`${open}, ${one.starts} started`];
  if (one.lifecycle === 'shared') parts.push('shared by all sessions');
  if (one.era !== null) parts.push(`${one.era} protocol`);
  if (one.lastExit !== null) parts.push(`the last one ${one.lastExit}`);
  return parts.join('; ');
}

function describeLogin({ state, issuer, expires, refreshable }: LoginStatus): string {
  const parts = [issuer === null ? state : `${state} at ${issuer}`];
  if (expires !== null) parts.push(`expires ${expires}${refreshable ? ', then renewed by itself' : ''}`);
  return parts.join('; ');
}

/** What is not in force, and why. */
function describeHardening(measures: readonly Measure[]): string {
  const missing = measures.filter(({ inForce }) => !inForce);
  if (missing.length === 0) return 'all in force';
  const [first] = missing;
  // One reason for everything: it is switched off, say.
  if (missing.length === measures.length && missing.every(({ detail }) => detail === first?.detail))
    return `NOT in force: ${first?.detail}`;
  return `NOT in force: ${missing.map(({ measure, detail }) => `${measure} (${detail})`).join('; ')}`;
}

function describeBindings(bindings: StatusReport['bindings']): string {
  const kinds = Object.entries(bindings).map(([kind, count]) => `${count} to ${kind}`);
  return kinds.length === 0 ? '' : `; bound: ${kinds.join(', ')}`;
}

function describe(report: StatusReport, level: string): string[] {
  const lines = [
    `ostiary ${report.version}: pid ${report.pid}, up ${duration(report.uptimeMs)}`,
    `isolation   ${level}`,
    `hardening   daemon: ${describeHardening(report.hardening)}`,
    `endpoint    ${report.url ?? 'Unix sockets only'}`,
    `config      ${report.config ?? 'none'}`,
    `policy      ${typeof report.policy === 'string' ? report.policy : `profiles: ${report.policy.join(', ')}`}`,
    `sessions    ${report.sessions}, with ${report.conversations} conversations${describeBindings(report.bindings)}`,
    ...(report.guests === null
      ? []
      : [`guests      uid ${report.guests.uids.join(', ')} at ${report.guests.socket}`]),
    `audit       ${report.audit.file}, ${report.audit.seq} records`,
  ];
  for (const one of report.upstreams) {
    lines.push(`upstream    ${one.name}: ${describeUpstream(one)}`);
    if (one.state !== 'closed')
      lines.push(
        `            failed ${one.failures} times in a row: ${one.state === 'open' ? `not started for ${one.retryAfterSeconds} s` : 'the next call tries again'}`,
      );
    if (one.hardening.length > 0) lines.push(`            hardening: ${describeHardening(one.hardening)}`);
    for (const { into, from, as } of report.placements.filter(({ upstream }) => upstream === one.name))
      lines.push(`            ${into} from ${from}${manner[as]}`);
    if (one.lastProblem !== null) lines.push(`            problem: ${one.lastProblem}`);
  }
  for (const { label, expiresAt, refreshAt } of report.credentials)
    if (expiresAt !== undefined)
      lines.push(`credential  ${label}: expires ${expiresAt}, asked for anew from ${refreshAt} on`);
  for (const one of report.logins) {
    lines.push(`login       ${one.name}: ${describeLogin(one)}`);
    if (one.problem !== null) lines.push(`            problem: ${one.problem}`);
    if (one.state === 'not logged in') lines.push(`            try: ostiary auth login ${one.name}`);
  }
  for (const { label, redactable } of report.credentials)
    if (!redactable) lines.push(`warning     ${label} is too short to be redacted from answers`);
  return lines;
}

async function status(options: { json?: boolean }): Promise<void> {
  const resident = await residentDaemon();
  if (resident === null)
    throw new Failure('daemon', 'no daemon is running', {
      hint: 'ostiary up starts one; ostiary run needs none',
    });
  const report = await resident.client.status<StatusReport>();
  const level = await levelOf(report.isolation);
  if (options.json) print(JSON.stringify({ ...report, level }, null, 2));
  else for (const line of describe(report, level)) print(line);
}

export function downCommand(): Command {
  return new Command('down')
    .description('end the resident daemon and everything that it started')
    .action(down);
}

export function statusCommand(): Command {
  return new Command('status')
    .description('how the resident daemon is, and which isolation level is in force')
    .option('--json', 'as one JSON object')
    .action(status);
}
