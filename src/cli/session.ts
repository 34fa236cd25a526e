/** `ostiary session`: sessions without `run`, for clients that are started in other ways. */
import { Argument, Command, Option } from 'commander';
import { renderMcpConfig } from '../agents/mcp-config.ts';
import type { BindingReport } from '../auth/binding.ts';
import { Failure } from '../errors.ts';
import { type EnclosureKind, enclosureKinds } from '../os/index.ts';
import type { ControlClient } from './control.ts';
import { guestClient } from './guest.ts';
import { mainFile } from './main-file.ts';
import { residentDaemon } from './resident-daemon.ts';

interface SessionLine {
  readonly id: string;
  readonly profile: string;
  readonly label: string;
  readonly socket: string;
  readonly createdAt: number;
  readonly lastUsed: number;
  readonly leased: boolean;
  readonly uid: number;
  readonly binding: BindingReport;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function daemon(): Promise<ControlClient> {
  const resident = await residentDaemon();
  if (resident === null)
    throw new Failure('daemon', 'no daemon is running', { hint: 'a session needs one: ostiary up' });
  return resident.client;
}

interface NewOptions {
  readonly profile: string;
  readonly label: string;
  readonly token?: boolean;
  readonly http?: boolean;
  readonly merged?: boolean;
  readonly json?: boolean;
}

async function create(options: NewOptions): Promise<void> {
  const client = await daemon();
  const { profile, label } = options;
  const report = await client.openSession({ profile, label, token: options.token === true, lease: false });
  if (options.json) return print(JSON.stringify(report, null, 2));
  process.stderr.write(`ostiary: session ${report.id}; end it with: ostiary session end ${report.id}\n`);
  if (report.token !== undefined) return print(report.token);
  if (options.http && report.url === null)
    throw new Failure('daemon', 'this system does not tell whose a TCP connection is: Unix sockets only');
  const { upstreams, socket } = report;
  const url = options.http ? (report.url ?? undefined) : undefined;
  const merged = options.merged === true;
  process.stdout.write(
    renderMcpConfig({ upstreams, merged, socket, url, node: process.execPath, main: mainFile }),
  );
}

async function list(options: { json?: boolean }): Promise<void> {
  const sessions = await (await daemon()).listSessions<SessionLine[]>();
  if (options.json) return print(JSON.stringify(sessions, null, 2));
  if (sessions.length === 0) return print('no sessions');
  for (const { id, profile, label, leased, uid, binding, lastUsed } of sessions) {
    const used = new Date(lastUsed).toISOString();
    const bound = binding.kind === 'uid' ? 'alone' : `and ${binding.kind} ${binding.id}`;
    print(
      `${id}  ${profile}  ${label === '' ? '-' : label}  ${leased ? 'run' : 'until idle'}  bound to uid ${uid} ${bound}  last used ${used}`,
    );
  }
}

function processNumber(text: string): number {
  if (/^[1-9]\d{0,9}$/.test(text)) return Number(text);
  throw new Failure('usage', 'expected the number of a process');
}

interface BindOptions {
  readonly kind: EnclosureKind;
  readonly daemon?: string;
}

async function bind(id: string, pid: string, { kind, daemon: socket }: BindOptions): Promise<void> {
  const client = socket === undefined ? await daemon() : guestClient(socket);
  const bound = await client.bindSession(id, { pid: processNumber(pid), kind });
  print(bound.kind === 'uid' ? 'not bound' : `bound to ${bound.kind} ${bound.id}`);
}

export function sessionCommand(): Command {
  const session = new Command('session').description('make, list and end sessions of the resident daemon');
  session
    .command('new')
    .description('open a session and print the mcp-config.json of its client')
    .option('--profile <name>', 'policy profile', 'default')
    .option('--label <text>', 'shown in the audit log and in session list', '')
    .option('--merged', 'one server, ostiary, for all upstreams, instead of one for each')
    .option('--http', 'servers by loopback HTTP with a headers helper, instead of the shim')
    .option(
      '--token',
      'print a bearer token for the loopback endpoint instead: whoever has it is the session',
    )
    .option('--json', 'everything about the session as one JSON object')
    .action(create);
  session.command('list').description('list the open sessions').option('--json', 'as JSON').action(list);
  session
    .command('bind')
    .description('let a session be used from within a sandbox alone, for good')
    .argument('<id>', 'the session')
    .addArgument(new Argument('<pid>', 'a process in the sandbox, by its number outside'))
    .addOption(
      new Option('--kind <kind>', 'what it is bound to: that of the process, or the process and all below it')
        .choices(enclosureKinds)
        .default('pid-namespace'),
    )
    .option('--daemon <socket>', 'of the daemon of another user, by its agents.sock')
    .action(bind);
  session
    .command('end <id>')
    .description('end a session, its upstreams and its tokens')
    .action(async (id: string) => (await daemon()).endSession(id));
  return session;
}
