/**
 * The attack kit: an agent that means harm. `ostiary doctor --attack` starts it as `ostiary run` starts any agent; it
 * gets its brief on standard input and says on standard output what it could do.
 */
import type { Readable, Writable } from 'node:stream';
import type { Attack, World } from './attack.ts';
import { attackNamed } from './attacks.ts';
import type { AttackResult, FromKit } from './brief.ts';
import { type Answer, attackAll, type Order } from './conduct.ts';
import { readLines, sendLine } from './lines.ts';

/** One attack, in this process. */
async function attackOnce(attack: Attack, from: Readable, to: Writable): Promise<void> {
  const lines = readLines<unknown>(from);
  const next = async <T>(): Promise<T> => {
    const { value, done } = await lines.next();
    if (done === true) throw new Error('the trusted side has gone');
    return value as T;
  };
  const { brief } = await next<Order>();
  const world: World = {
    brief,
    ask: (question) => {
      sendLine(to, { ask: question } satisfies FromKit);
      return next();
    },
  };
  const result: AttackResult = { attack: attack.number, attempts: await attack.run(world) };
  sendLine(to, { result } satisfies FromKit);
  // Until it has been read.
  await lines.next();
}

/** All that are wanted. */
async function attack(from: Readable, to: Writable): Promise<void> {
  const lines = readLines<unknown>(from);
  sendLine(to, { ready: true } satisfies FromKit);
  const order = (await lines.next()).value as Order | undefined;
  if (order === undefined) return;
  await attackAll(
    order,
    async (question) => {
      sendLine(to, { ask: question } satisfies FromKit);
      return (await lines.next()).value as Answer;
    },
    (result) => sendLine(to, { result } satisfies FromKit),
  );
  sendLine(to, { over: true } satisfies FromKit);
  await lines.next();
}

const single = attackNamed(process.argv[2] ?? '');
await (single === undefined
  ? attack(process.stdin, process.stdout)
  : attackOnce(single, process.stdin, process.stdout));
process.exit();
