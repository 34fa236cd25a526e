/** `run`'s end of the launcher (launcher.ts): hears what works here, tells it what to start. */
import type { ChildProcess } from 'node:child_process';
import type { Duplex } from 'node:stream';
import { Failure } from '../../errors.ts';
import { limits } from '../../limits.ts';
import type { AgentExit } from '../launch.ts';
import type { Isolation } from './isolation.ts';
import { spawnLauncher } from './launcher-start.ts';
import { nothingLeft, type Order, type Report } from './orders.ts';

/** @param told each whole line of the launcher */
function listen(channel: Duplex, told: (line: string) => void): void {
  let text = '';
  channel.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (text + chunk).split('\n');
    text = lines.pop() ?? '';
    lines.forEach(told);
  });
}

function reportFrom(channel: Duplex): Promise<Report> {
  return new Promise((resolve, reject) => {
    const fail = (why: string): void =>
      reject(new Failure('isolation', `the launcher of the agent ${why}`, { hint: 'ostiary run again' }));
    const timer = setTimeout(() => fail('does not answer'), limits.launcherStartMs);
    listen(channel, (line) => {
      clearTimeout(timer);
      if (line !== nothingLeft) resolve(JSON.parse(line) as Report);
    });
    channel.on('close', () => {
      clearTimeout(timer);
      fail('ended');
    });
  });
}

export class Launcher {
  readonly #child: ChildProcess;
  readonly #channel: Duplex;
  readonly report: Promise<Report>;
  /** How the launcher ended, as its agent did; all that it said has been heard by then. */
  readonly exited: Promise<AgentExit>;
  #leftNothing = false;

  /** @param child started in this turn of the event loop; it does not keep this process alive before it is given an order */
  constructor(child: ChildProcess) {
    this.#child = child;
    this.#child.on('error', () => {});
    this.exited = new Promise((resolve) => {
      this.#child.on('close', (code, signal) => resolve({ code, signal }));
    });
    this.#channel = this.#child.stdio[3] as Duplex;
    this.#channel.on('error', () => {});
    this.report = reportFrom(this.#channel);
    listen(this.#channel, (line) => {
      this.#leftNothing ||= line === nothingLeft;
    });
    // Heard of by whoever awaits it, which may be later.
    this.report.catch(() => {});
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Whether it said that all of the agent has ended: it may have been killed before. */
  get leftNothing(): boolean {
    return this.#leftNothing;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  start(order: Order): void {
    this.#channel.write(`${JSON.stringify(order)}\n`);
  }

  /** Ends one that was given no order. */
  close(): void {
    this.#channel.destroy();
  }
}

/** For {@link openSandbox}, when it was not started earlier. */
export function startLauncher(hint: Isolation): Launcher | null {
  const child = spawnLauncher(hint);
  return child === null ? null : new Launcher(child);
}
