/** What a process tries against others of its own user; it is a process of that user itself. */
import type { TestContext } from 'node:test';
import { run } from '../os/support.ts';

/** `denied`, or what was got: `open`, or `LEAK` when the secret was in it. */
export type Outcomes = Readonly<Record<string, string>>;

const ATTACK = `
import { createRequire } from 'node:module';
import { spawnSync } from 'node:child_process';
const koffi = createRequire(env.OS)('koffi');
const libc = koffi.load(null);
const ptrace = libc.func('long ptrace(long request, int pid, size_t address, size_t data)');
const readv = libc.func('long process_vm_readv(int pid, void *local, ulong n, void *remote, ulong m, ulong flags)');
const syscall = libc.func('long syscall(long number, ...)');
const EPERM = 1, EFAULT = 14;
const secret = () => env.MARK;
const judge = (bytes) => (Buffer.from(bytes).includes(secret()) ? 'LEAK' : 'open');
const attempt = (work) => { try { return work(); } catch (error) { return ['EACCES', 'EPERM'].includes(error.code) ? 'denied' : String(error.code); } };
const said = (result) => (result >= 0 ? 'open' : koffi.errno() === EPERM ? 'denied' : koffi.errno() === EFAULT ? 'open' : 'errno ' + koffi.errno());

function memory(pid) {
  const ranges = fs.readFileSync('/proc/' + pid + '/maps', 'latin1').split('\\n').filter((line) => / rw/.test(line));
  const file = fs.openSync('/proc/' + pid + '/mem', 'r');
  for (const range of ranges) {
    const [from, to] = range.split(' ')[0].split('-').map((text) => Number.parseInt(text, 16));
    const bytes = Buffer.alloc(Math.min(to - from, 1 << 26));
    try { fs.readSync(file, bytes, 0, bytes.length, from); } catch { continue; }
    if (bytes.includes(secret())) return 'LEAK';
  }
  return 'open';
}
function vector(address, length) {
  const both = Buffer.alloc(16);
  both.writeBigUInt64LE(BigInt(address), 0);
  both.writeBigUInt64LE(BigInt(length), 8);
  return both;
}
function pidfd(pid) {
  const fd = Number(syscall(434, 'int', pid, 'int', 0));
  if (fd < 0) return 'errno ' + koffi.errno();
  const got = Number(syscall(438, 'int', fd, 'int', 0, 'int', 0));
  const outcome = said(got);
  fs.closeSync(fd);
  return outcome;
}
function seize(pid) {
  const result = Number(ptrace(0x4206, pid, 0, 0));
  const outcome = said(result);
  if (result === 0) { process.kill(pid, 'SIGSTOP'); ptrace(17, pid, 0, 0); process.kill(pid, 'SIGCONT'); }
  return outcome;
}
for (const pid of JSON.parse(env.PIDS)) {
  const there = Buffer.alloc(8);
  say(JSON.stringify({
    'A1 environ': attempt(() => judge(fs.readFileSync('/proc/' + pid + '/environ'))),
    'A1 ps eww': judge(spawnSync('ps', ['eww', '-p', String(pid)]).stdout ?? '') === 'LEAK' ? 'LEAK' : 'denied',
    'A3 mem': attempt(() => memory(pid)),
    'A3 process_vm_readv': said(Number(readv(pid, vector(koffi.address(there), 8), 1, vector(4096, 8), 1, 0))),
    'A3 ptrace': seize(pid),
    'A4 fd': attempt(() => fs.readdirSync('/proc/' + pid + '/fd') && 'open'),
    'A4 pidfd_getfd': pidfd(pid),
    'A5 cmdline': attempt(() => judge(fs.readFileSync('/proc/' + pid + '/cmdline'))),
  }));
}
`;

/** @param mark a part of the secret, to know it by */
export async function attackAs(
  t: TestContext,
  uid: number,
  pids: readonly number[],
  mark: string,
): Promise<Outcomes[]> {
  const attacker = run(t, ATTACK, { uid, env: { PIDS: JSON.stringify(pids), MARK: mark } });
  const outcomes: Outcomes[] = [];
  for (const _ of pids) outcomes.push(JSON.parse(await attacker.line()) as Outcomes);
  return outcomes;
}

const WATCH = `
const seen = new Set();
let hits = 0;
process.stdin.on('end', () => { over = true; }).resume();
let over = false;
say('ready');
(function look() {
  for (let round = 0; round < 20; round++)
    for (const pid of fs.readdirSync('/proc')) {
      if (!/^[1-9]/.test(pid) || Number(pid) === process.pid || seen.has(pid)) continue;
      try {
        if (fs.readFileSync('/proc/' + pid + '/environ').includes(env.MARK)) { seen.add(pid); hits++; }
      } catch {}
    }
  if (over) say(String(hits)); else setImmediate(look);
})();
`;

/** A10: reads environments in a tight loop, as `uid`, while `work` goes on; says of how many processes it saw the mark. */
export async function watchedBy(
  t: TestContext,
  uid: number,
  mark: string,
  work: () => Promise<void>,
): Promise<number> {
  const watcher = run(t, WATCH, { uid, env: { MARK: mark } });
  await watcher.line();
  await work();
  watcher.child.stdin.end();
  return Number(await watcher.line());
}
