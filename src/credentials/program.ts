/**
 * What runs when an upstream is started, as one digest over files: the executable, the script that an interpreter is
 * given, and for scripts of Node the whole package that the script is in, with every package that it may load (I4).
 *
 * Not seen: packages that are loaded without being declared, modules of other languages, shared libraries, and what
 * happens between this look and the start.
 */
import { createHash, type Hash } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  realpathSync,
  type Stats,
} from 'node:fs';
import { basename, dirname, extname, join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Failure } from '../errors.ts';
import { Evidence } from '../evidence.ts';
import { fileIdentity } from '../files.ts';
import { limits } from '../limits.ts';
import { isOurNode } from './destination.ts';

interface Known {
  /** {@link fileIdentity} */
  readonly identity: string;
  readonly digest: string;
}

const known = new Map<string, Known>();

const CHUNK_BYTES = 1024 * 1024;

/** Times of files are that coarse: of one changed just now a second change might not show. */
const SETTLED_MS = 100;

/** Of what lies in a package, what never runs, and is half of it: types, and maps for debuggers. */
const NOT_CODE = /\.(?:d\.[mc]?ts|map)$/;

function missing(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR'].includes(String((error as NodeJS.ErrnoException).code));
}

/** The files that make up one program; each look is anew, contents are read again only where they may differ. */
class Program {
  readonly #hash: Hash = createHash('sha256');
  readonly evidence = new Evidence();
  readonly #seen = new Set<string>();
  #files = 0;
  #bytes = 0;
  #sinceTurn = 0;

  digest(): string {
    return this.#hash.digest('base64url');
  }

  #say(...words: readonly string[]): void {
    this.#hash.update(`${JSON.stringify(words)}\n`);
  }

  #once(what: string): boolean {
    if (this.#seen.has(what)) return false;
    this.#seen.add(what);
    return true;
  }

  /** Calls wait while files are read: a large program must not make those of other upstreams wait. */
  async #breathe(work: number): Promise<void> {
    this.#sinceTurn += work;
    if (this.#sinceTurn < 64) return;
    this.#sinceTurn = 0;
    await turn();
  }

  /** @param stats of the path, taken just now */
  async #contents(path: string, stats: Stats): Promise<string> {
    const before = known.get(path);
    if (before?.identity === fileIdentity(stats)) return before.digest;
    const descriptor = openSync(path, 'r');
    try {
      const identity = fileIdentity(fstatSync(descriptor));
      const hash = createHash('sha256');
      const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, stats.size + 1));
      for (let length = 1; length > 0; ) {
        length = readSync(descriptor, chunk);
        hash.update(chunk.subarray(0, length));
        await this.#breathe(length / 16_384);
      }
      const digest = hash.digest('base64url');
      const after = fstatSync(descriptor);
      if (fileIdentity(after) === identity && Date.now() - after.ctimeMs > SETTLED_MS)
        known.set(path, { identity, digest });
      return digest;
    } finally {
      closeSync(descriptor);
    }
  }

  /** One entry of whatever kind. A directory is only named. */
  async #entry(path: string): Promise<void> {
    await this.#breathe(1);
    try {
      const stats = this.evidence.note(path);
      if (stats === undefined) this.#say('missing', path);
      else if (stats.isSymbolicLink()) {
        this.#say('link', path, readlinkSync(path));
        await this.#linked(path);
      } else if (stats.isFile()) {
        this.#files++;
        this.#bytes += stats.size;
        if (this.#files > limits.programFiles || this.#bytes > limits.programBytes)
          throw new Failure('credential', 'the program is too large to be bound', {
            hint: 'install it into a directory of its own, without other things beside it',
          });
        this.#say('file', path, String(stats.mode & 0o7777), await this.#contents(path, stats));
      } else this.#say(stats.isDirectory() ? 'directory' : 'other', path);
    } catch (error) {
      if (error instanceof Failure) throw error;
      // Gone in the meantime, or a link to nothing.
      if (missing(error)) this.#say('missing', path);
      else
        throw new Failure('credential', 'a file of the program cannot be read, so it cannot be bound', {
          place: { file: path },
          cause: error,
        });
    }
  }

  async #linked(path: string): Promise<void> {
    const real = realpathSync(path);
    if (lstatSync(real).isDirectory()) await this.tree(real);
    else await this.file(real);
  }

  async file(path: string): Promise<void> {
    if (this.#once(path)) await this.#entry(path);
  }

  /** A package's own files; those in its `node_modules` are other packages. */
  async tree(directory: string): Promise<void> {
    if (!this.#once(`tree ${directory}`)) return;
    const walk = async (below: string): Promise<void> => {
      this.evidence.note(below);
      const entries = readdirSync(below, { withFileTypes: true });
      for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
        if (entry.name === '.git' || (entry.name === 'node_modules' && below === directory)) continue;
        if (NOT_CODE.test(entry.name)) continue;
        const path = `${below}/${entry.name}`;
        await this.#entry(path);
        if (entry.isDirectory()) await walk(path);
      }
    };
    await walk(directory);
  }

  /** Files of code beside a script that is in no package. */
  async siblings(script: string): Promise<void> {
    const directory = dirname(script);
    this.evidence.note(directory);
    for (const name of readdirSync(directory).sort())
      if (/^\.([mc]?[jt]s|json|node|wasm)$/.test(extname(name))) await this.file(join(directory, name));
  }

  /** Which packages there are, of every `node_modules` in which those of `directory` are looked for. */
  names(directory: string): void {
    for (const modules of lookupPaths(directory)) {
      if (!this.#once(`names ${modules}`)) continue;
      this.#say('names', modules, ...packagesIn(modules, this.evidence));
    }
  }
}

/** Node's own search: node_modules of each directory above, but not of one that is itself called so. */
function lookupPaths(from: string): string[] {
  const paths: string[] = [];
  for (let directory = from; ; directory = dirname(directory)) {
    if (basename(directory) !== 'node_modules') paths.push(join(directory, 'node_modules'));
    if (directory === dirname(directory)) return paths;
  }
}

function listing(directory: string, evidence: Evidence): string[] {
  evidence.note(directory);
  try {
    return readdirSync(directory).sort();
  } catch (error) {
    if (missing(error)) return [];
    throw error;
  }
}

function packagesIn(modules: string, evidence: Evidence): string[] {
  return listing(modules, evidence)
    .filter((name) => !name.startsWith('.'))
    .flatMap((name) =>
      name.startsWith('@') ? listing(join(modules, name), evidence).map((own) => `${name}/${own}`) : [name],
    );
}

function realOrNull(path: string): string | null {
  try {
    return realpathSync(path);
  } catch (error) {
    if (missing(error)) return null;
    throw error;
  }
}

/** The nearest directory above that has a `package.json`; `null` when there is none. */
function packageOf(file: string, evidence: Evidence): string | null {
  for (let directory = dirname(file); ; directory = dirname(directory)) {
    if (evidence.note(join(directory, 'package.json')) !== undefined) return directory;
    if (directory === dirname(directory) || basename(directory) === 'node_modules') return null;
  }
}

/** What a package says that it loads: also what is optional, for it may be there. */
function dependenciesOf(directory: string): string[] {
  let manifest: Record<string, unknown>;
  try {
    manifest = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
  } catch {
    // Missing or broken: its text is in the digest, and Node will say more.
    return [];
  }
  const groups = ['dependencies', 'optionalDependencies', 'peerDependencies'];
  return [...new Set(groups.flatMap((group) => Object.keys(manifest?.[group] ?? {})))].sort();
}

function resolvePackage(name: string, from: string, evidence: Evidence): string | null {
  for (const modules of lookupPaths(from)) {
    const path = join(modules, name);
    const real = evidence.note(path) === undefined ? null : realOrNull(path);
    if (real !== null) return real;
  }
  return null;
}

async function addPackages(program: Program, root: string): Promise<void> {
  const queue = [root];
  const seen = new Set(queue);
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    await program.tree(next);
    program.names(next);
    for (const name of dependenciesOf(next)) {
      const found = resolvePackage(name, next, program.evidence);
      if (found === null || seen.has(found)) continue;
      seen.add(found);
      queue.push(found);
    }
  }
}

/** @param path of a script, or of a directory as which interpreters take a whole package */
async function addScript(program: Program, path: string, forNode: boolean): Promise<void> {
  await program.file(path);
  const real = realOrNull(path);
  if (real === null) {
    // Node then looks for these (modules, "File modules").
    for (const name of forNode ? ['.js', '.json', '.node'].map((extension) => path + extension) : [])
      if (realOrNull(name) === null) await program.file(name);
      else await addScript(program, name, forNode);
    return;
  }
  if (lstatSync(real).isDirectory()) return forNode ? addPackages(program, real) : program.tree(real);
  await program.file(real);
  if (!forNode) return;
  const root = packageOf(real, program.evidence);
  if (root !== null) return addPackages(program, root);
  await program.siblings(real);
  program.names(dirname(real));
}

const NODE_LIKE = /^(?:node|nodejs|bun|deno|tsx)$/;
const INTERPRETER =
  /^(?:node|nodejs|bun|deno|tsx|python[0-9.]*|ruby[0-9.]*|perl[0-9.]*|php[0-9.]*|java|(?:ba|da|z|k)?sh|env)$/;

/** Options of Node whose value is the next argument. */
const TAKES_VALUE = /^(?:-r|-C|--require|--import|--loader|--experimental-loader|--conditions)$/;

/** Options whose value is code, or the name of a module: what comes after it is data. */
const CODE_FOLLOWS = /^(?:-c|-e|-m|-p|--eval|--print)$/;

/** The path in an argument such as `/x`, `--import=/x`, `file:///x`; `null` when there is none. */
function pathIn(argument: string): string | null {
  const text = argument.startsWith('-') ? argument.slice(argument.indexOf('=') + 1) : argument;
  try {
    if (text.startsWith('file://')) return fileURLToPath(text);
  } catch {
    return null;
  }
  return text.startsWith('/') ? text : null;
}

/** The arguments that an interpreter takes for itself: up to its script. What follows is data of the script. */
function codeArguments(args: readonly string[], forNode: boolean): readonly string[] {
  const script = args.findIndex((argument, index) => {
    const before = args[index - 1];
    if (before !== undefined && CODE_FOLLOWS.test(before)) return true;
    if (argument.startsWith('-')) return false;
    // Of other interpreters it is not known which options take a value: rather one file too many.
    return before === undefined || !before.startsWith('-') || (forNode && !TAKES_VALUE.test(before));
  });
  return script < 0 ? args : args.slice(0, script + 1);
}

function runsOnNode(path: string): boolean {
  const real = realOrNull(path);
  if (real === null || !lstatSync(real).isFile()) return false;
  const descriptor = openSync(real, 'r');
  try {
    const head = Buffer.alloc(128);
    const first = head.toString('latin1', 0, readSync(descriptor, head)).split('\n', 1)[0] ?? '';
    return first.startsWith('#!') && /\b(?:node|bun|deno|tsx)\b/.test(first);
  } finally {
    closeSync(descriptor);
  }
}

async function look(program: Program, command: string, args: readonly string[]): Promise<string> {
  const ours = isOurNode(command);
  try {
    if (!ours) await addScript(program, command, runsOnNode(command));
    const name = ours ? 'node' : basename(command);
    if (!INTERPRETER.test(name)) return program.digest();
    const forNode = NODE_LIKE.test(name);
    // What env runs stands anywhere among its arguments.
    const code = name === 'env' ? args : codeArguments(args, forNode);
    for (const argument of code) {
      const path = pathIn(argument);
      if (path !== null) await addScript(program, path, forNode || name === 'env');
    }
    return program.digest();
  } catch (error) {
    if (error instanceof Failure) throw error;
    const { code, path } = error as NodeJS.ErrnoException;
    throw new Failure('credential', `the program cannot be read, so it cannot be bound: ${code}`, {
      ...(path === undefined ? {} : { place: { file: path } }),
      cause: error,
    });
  }
}

const looks = new Map<string, Promise<string>>();

/** What was found, until a file that it rests on changes. */
const found = new Map<string, { readonly digest: string; readonly evidence: Evidence }>();

async function lookAgain(key: string, command: string, args: readonly string[]): Promise<string> {
  const before = found.get(key);
  if (before !== undefined && (await before.evidence.holds())) return before.digest;
  const program = new Program();
  const digest = await look(program, command, args);
  found.set(key, { digest, evidence: program.evidence });
  return digest;
}

/**
 * SHA-256, in base64url. A file that is missing has its place in it, so that one that appears is noticed. Who asks while
 * somebody else is looking gets the same answer.
 * @throws {Failure} when a file cannot be read, or the program is too large
 */
export function programDigest(command: string, args: readonly string[]): Promise<string> {
  // Where the program is led to by links, and whether to the Node that runs us, is looked up each time.
  const key = JSON.stringify([realOrNull(command), command, args]);
  const running = looks.get(key);
  if (running !== undefined) return running;
  const looking = lookAgain(key, command, args).finally(() => looks.delete(key));
  looks.set(key, looking);
  return looking;
}
