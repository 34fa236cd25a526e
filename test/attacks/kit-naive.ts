/**
 * A program: the attack kit against a naive proxy, which shows that each attack can bite. Run as the user whose things are
 * attacked; prints what `doctor --attack --json` prints.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Brief, Target } from '../../src/agents/attack/brief.ts';
import { Canaries } from '../../src/cli/doctor/attack/canaries.ts';
import { driveKit, kitFile } from '../../src/cli/doctor/attack/drive.ts';
import { Ground } from '../../src/cli/doctor/attack/ground.ts';
import { judge } from '../../src/cli/doctor/attack/judge.ts';
import { descendantsOf, describeProcess, type Process } from '../../src/cli/doctor/attack/process-table.ts';
import { toJson } from '../../src/cli/doctor/attack/report.ts';
import { behindSocket, inKeychain, inKeyrings, type Store } from '../../src/cli/doctor/attack/stores.ts';

const proxyFile = fileURLToPath(new URL('../../../test/fixtures/naive-proxy.mjs', import.meta.url));

/** As somebody sets it who wants to look into a server that misbehaves. */
const talkative = ['--report-on-signal', '--report-signal=SIGUSR2'];

const ground = new Ground(process.env);
const { places } = ground;
const canaries = new Canaries();
const configFile = join(places.config, 'config.yaml');
const name = `ostiary-attack-${basename(places.root).slice('.oa-'.length)}`;
const stores: Readonly<Record<'bus' | 'key' | 'abstractSocket' | 'runtimeSocket', Store>> = {
  bus: await inKeychain(process.env, name, canaries),
  key: inKeyrings(name, canaries),
  abstractSocket: await behindSocket(`\0${name}`, canaries.make('abstract')),
  runtimeSocket: await behindSocket(join(places.runtime, 'neighbour.sock'), canaries.make('runtime')),
};
const token = canaries.make('node');
const proxies: ChildProcess[] = [];

function upstream(file: string, ...more: readonly string[]) {
  return {
    command: process.execPath,
    args: [...talkative, join(places.programs, file), ...more],
    env: { NODE_TOKEN: token, TOKEN_FILE: canaries.make('pipe') },
  };
}

ground.write(
  configFile,
  JSON.stringify({
    upstreams: [
      upstream('server.mjs', '--token', canaries.make('argument')),
      {
        command: join(places.programs, 'server.sh'),
        args: [],
        env: { SCRIPT_TOKEN: canaries.make('script') },
      },
    ],
  }),
);
ground.write(places.plain, canaries.make('plain'));
ground.write(places.stateMarker, canaries.make('marker'));
ground.settle();
const cores = join(places.root, 'work');
mkdirSync(cores);

function targetOf({ pid, start, argv }: Process, role: Target['role']): Target {
  return { name: role, role, pid, start, node: basename(argv[0] ?? '').startsWith('node') };
}

/** @returns it and what it has started, once that is all there */
async function startProxy(): Promise<Target[]> {
  const env = { PATH: '/usr/bin:/bin', HOME: places.home, PROXY_TOKEN: canaries.make('proxy') };
  const child = spawn(process.execPath, [proxyFile, configFile], {
    cwd: cores,
    env,
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  proxies.push(child);
  child.stdin.on('error', () => {});
  child.stdin.write('{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}\n');
  let answers = 0;
  for await (const chunk of child.stdout as Readable) {
    answers += String(chunk).split('\n').length - 1;
    if (answers === 2) break;
  }
  const proxy = describeProcess(child.pid ?? 0);
  if (proxy === null) throw new Error('the naive proxy has ended');
  return [
    targetOf(proxy, 'daemon'),
    ...descendantsOf(proxy.pid).map((each) =>
      targetOf(each, each.argv[0] === 'sleep' ? 'descendant' : 'upstream'),
    ),
  ];
}

async function brief(): Promise<Brief> {
  const absent = { absent: 'a naive proxy has none' };
  return {
    targets: await startProxy(),
    places,
    control: absent,
    endpoint: absent,
    bus: stores.bus.door,
    key: stores.key.door,
    abstractSocket: stores.abstractSocket.door,
    runtimeSocket: stores.runtimeSocket.door,
    docker: absent,
    tmux: absent,
    userManager: absent,
    ostiary: [],
    environment: {},
  };
}

const kit = spawn(process.execPath, [kitFile], {
  cwd: places.project,
  env: { PATH: '/usr/bin:/bin', HOME: places.home, LEFT_OVER: canaries.make('job') },
  stdio: ['pipe', 'pipe', 'inherit'],
});

const notTried = [{ what: 'itself', outcome: 'skipped', why: 'not tried', sightings: [] }] as const;

const { results, whole } = await driveKit(
  { stdin: kit.stdin as Writable, stdout: kit.stdout as Readable },
  brief,
  process.argv.slice(2),
  {
    victims: async () => ({ targets: (await startProxy()).filter(({ role }) => role === 'upstream') }),
    starts: async () => {
      for (const _ of [1, 2, 3]) await startProxy();
      return { starts: 3 };
    },
    inspect: async () => ({ changed: ground.changed() }),
    use: async () => {
      // As npx does in a repository: what is installed there comes first.
      spawnSync(process.execPath, ['-e', 'require("commander")'], { cwd: places.project });
      return { ran: ground.ran() };
    },
    stranger: async () => ({ attempts: notTried }),
    upstream: async () => ({ attempts: notTried }),
  },
);
for (const proxy of proxies) {
  for (const { pid } of proxy.pid === undefined ? [] : descendantsOf(proxy.pid)) process.kill(pid, 'SIGKILL');
  if (proxy.exitCode === null && proxy.signalCode === null) {
    proxy.kill('SIGKILL');
    await once(proxy, 'exit');
  }
}
for (const store of Object.values(stores)) await store.remove();
ground.remove();
if (!whole) throw new Error('the kit ended early');
process.stdout.write(`${toJson(judge(results, canaries), 'naive')}\n`);
process.exit();
