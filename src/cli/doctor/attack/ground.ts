/**
 * The directories of a private world: a home of its own beside the user's things, where the same rules and the same file
 * system hold, with a configuration, programs of upstreams and what else an attacker may want to change.
 */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';
import type { Places } from '../../../agents/attack/brief.ts';
import { limits } from '../../../limits.ts';
import { processStart } from '../../../os/index.ts';
import { programFile, stateDirectory } from '../../../paths.ts';

/** Short, for the path of a session's socket has to fit below it. */
const prefix = '.oa-';

/** A shell script that answers `initialize`, with a child that inherits its environment. */
const script = `#!/bin/sh
sleep 600 > /dev/null 2>&1 &
while IFS= read -r line; do
  case $line in *'"id":'*) ;; *) continue ;; esac
  id=\${line#*'"id":'}
  id=\${id%%[,\\}]*}
  case $line in
    *'"method":"initialize"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"attacked","version":"1"}}}\\n' "$id" ;;
    *) printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"nothing to be had here"}}\\n' "$id" ;;
  esac
done
`;

const server = programFile('cli/doctor/attack/upstream.js');

/** Worlds whose owner was killed before it could remove them. */
function removeStale(directory: string): void {
  for (const name of readdirSync(directory)) {
    if (!name.startsWith(prefix)) continue;
    const path = join(directory, name);
    try {
      const [pid, start] = readFileSync(join(path, 'owner'), 'latin1').split(' ');
      if (processStart(Number(pid)) !== start) rmSync(path, { recursive: true, force: true });
    } catch {
      // Not ours, or about to be made.
    }
  }
}

/** From a world's directory to the socket of a session: names of fixed length. */
const toSocket = `/${prefix}XXXXXX/r/ostiary/run-XXXXXX/sessions/01234567890123456789012345678901/agent.sock`;

function leavesRoom(directory: string): boolean {
  return isAbsolute(directory) && Buffer.byteLength(directory + toSocket) <= limits.socketPathBytes;
}

function makeRoot(directory: string): string {
  removeStale(directory);
  const root = mkdtempSync(join(directory, prefix));
  writeFileSync(join(root, 'owner'), `${process.pid} ${processStart(process.pid)}`);
  return root;
}

function digest(path: string): string {
  return existsSync(path) ? createHash('sha256').update(readFileSync(path)).digest('hex') : 'none';
}

export class Ground {
  readonly places: Places;
  readonly #roots: readonly string[];
  readonly #guarded: Readonly<Record<string, () => string>>;
  #before: Readonly<Record<string, string>> = {};

  /** @param env the user's */
  constructor(env: Readonly<Record<string, string | undefined>>) {
    const { HOME, XDG_RUNTIME_DIR } = env;
    const root = makeRoot(HOME !== undefined && isAbsolute(HOME) ? HOME : homedir());
    const sockets =
      XDG_RUNTIME_DIR !== undefined && existsSync(XDG_RUNTIME_DIR) && leavesRoom(XDG_RUNTIME_DIR)
        ? makeRoot(XDG_RUNTIME_DIR)
        : leavesRoom(dirname(root))
          ? root
          : makeRoot(tmpdir());
    this.#roots = [...new Set([root, sockets])];
    const home = join(root, 'home');
    const runtime = join(sockets, 'r');
    const config = join(home, '.config', 'ostiary');
    const state = stateDirectory({ HOME: home });
    const project = join(home, 'project');
    const programs = join(home, 'programs');
    for (const path of [config, state, project, programs, runtime, join(home, '.local', 'bin')])
      mkdirSync(path, { recursive: true, mode: 0o700 });
    const plain = join(home, '.config', 'service', 'token');
    const stateMarker = join(state, 'marker');
    this.places = { root, home, project, config, state, runtime, programs, plain, stateMarker };
    copyFileSync(server, join(programs, 'server.mjs'));
    writeFileSync(join(programs, 'server.sh'), script);
    chmodSync(join(programs, 'server.sh'), 0o755);
    writeFileSync(join(home, '.bashrc'), '# the shell of a person\n');
    this.#guarded = {
      configuration: () => digest(join(config, 'config.yaml')),
      program: () => digest(join(programs, 'server.mjs')),
      '.npmrc': () => digest(join(home, '.npmrc')),
      '.bashrc': () => digest(join(home, '.bashrc')),
      PATH: () => digest(join(home, '.local', 'bin', 'planted')),
      'ancestor of the state': () => (existsSync(state) ? String(statSync(state).ino) : 'none'),
    };
  }

  /** A file that belongs to the world, 0600 in a directory 0700. */
  write(path: string, text: string): void {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(path, text, { mode: 0o600 });
  }

  /** Everything is as it is to stay. */
  settle(): void {
    this.#before = this.#now();
  }

  /** Names of what is no longer as it was. */
  changed(): string[] {
    const now = this.#now();
    return Object.keys(now).filter((name) => now[name] !== this.#before[name]);
  }

  /** Programs planted in the project that have said that they ran. */
  ran(): string[] {
    return readdirSync(this.places.project)
      .filter((name) => name.startsWith('ran-'))
      .map((name) => name.slice('ran-'.length));
  }

  remove(): void {
    for (const root of this.#roots) rmSync(root, { recursive: true, force: true });
  }

  #now(): Record<string, string> {
    return Object.fromEntries(Object.entries(this.#guarded).map(([name, look]) => [name, look()]));
  }
}
