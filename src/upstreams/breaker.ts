/**
 * Whether an upstream may be started now. One that keeps dying is left alone for longer and longer: starting it costs a
 * process, a credential and a request to somebody's service each time, and its callers want to know at once. Pure: time
 * and randomness come in.
 *
 * - closed: whoever asks may start. After `failures` of them in a row, open.
 * - open: refused until the wait is over. It doubles each time, up to a bound, with jitter, so that the proxies of many
 *   machines do not return to one service at the same moment.
 * - half-open: one may try. If it answers, closed; if it fails, open for longer.
 *
 * Neither a launch nor an answer forgets the failures before it, else a child that dies after each `initialize` would be
 * started for ever. Health does: the child answered, and then lived for `healthyMs` or until we ended it.
 */
import { type Refusal, refuse } from '../errors.ts';

export interface BreakerNumbers {
  /** In a row, until it opens. */
  readonly failures: number;
  /** The first wait, in milliseconds; jitter takes up to a quarter off each. */
  readonly waitMs: number;
  readonly longestWaitMs: number;
  readonly healthyMs: number;
  /** One that tries and neither answers nor ends has failed after this long. */
  readonly trialMs: number;
}

export interface BreakerState {
  readonly state: 'closed' | 'open' | 'half-open';
  /** In a row. */
  readonly failures: number;
  /** Milliseconds until one may try; 0 unless open. */
  readonly retryInMs: number;
}

export interface BreakerPorts {
  /** From 0 to 1, as `Math.random`. */
  readonly random: () => number;
  /** The circuit opened, again or for the first time (`why` is the last failure), or closed. */
  readonly changed: (state: BreakerState, why: string) => void;
}

const JITTER = 0.25;

/** One start. Times are milliseconds of one clock that never goes back; `ended` comes exactly once. */
export interface Attempt {
  /** It gave an answer that is no error. */
  answered(now: number): void;
  /** It failed, could not be started, or is gone. `asked`: because we wanted it to. */
  ended(now: number, why: string, asked: boolean): void;
}

interface Start {
  /** Counts from 1. */
  readonly number: number;
  readonly at: number;
  answered: boolean;
  /** Nothing that it does counts any more. */
  over: boolean;
}

export class Breaker {
  readonly #name: string;
  readonly #numbers: BreakerNumbers;
  readonly #ports: BreakerPorts;
  #starts = 0;
  #failures = 0;
  #why = '';
  /** Of the latest start that failed: how those before it fared says nothing about what came after them. */
  #lastFailed = 0;
  /** How often it opened in a row. */
  #opened = 0;
  /** When open or half-open. */
  #retryAt: number | null = null;
  /** The one that tries, when half-open. */
  #trial: Start | null = null;
  /** Answered, and not old enough to be healthy. */
  readonly #young = new Set<Start>();

  constructor(name: string, numbers: BreakerNumbers, ports: BreakerPorts) {
    this.#name = name;
    this.#numbers = numbers;
    this.#ports = ports;
  }

  admit(now: number): Attempt | Refusal {
    this.#settle(now);
    if (this.#retryAt !== null && (now < this.#retryAt || this.#trial !== null)) return this.#refusal(now);
    const start: Start = { number: ++this.#starts, at: now, answered: false, over: false };
    if (this.#retryAt !== null) this.#trial = start;
    return {
      answered: (at) => this.#answered(start, at),
      ended: (at, why, asked) => this.#ended(start, at, why, asked),
    };
  }

  state(now: number): BreakerState {
    this.#settle(now);
    if (this.#retryAt === null) return { state: 'closed', failures: this.#failures, retryInMs: 0 };
    const retryInMs = Math.max(0, this.#retryAt - now);
    return { state: retryInMs > 0 ? 'open' : 'half-open', failures: this.#failures, retryInMs };
  }

  #refusal(now: number): Refusal {
    const { failures, retryInMs } = this.state(now);
    // Whoever asks during the trial knows more in a second.
    const retryAfterSeconds = Math.max(1, Math.ceil(retryInMs / 1000));
    const times = failures === 1 ? 'once' : `${failures} times in a row`;
    return refuse(
      'upstream_unavailable',
      `upstream ${this.#name} failed ${times}, and last ${this.#why}; retry in ${retryAfterSeconds} s`,
      { retryAfterSeconds },
    );
  }

  /** Takes note of what became so since the last event, before that event counts. */
  #settle(now: number): void {
    for (const start of this.#young)
      if (now - start.at >= this.#numbers.healthyMs) {
        this.#young.delete(start);
        this.#healthy(start, now);
      }
    const trial = this.#trial;
    if (trial !== null && now - trial.at >= this.#numbers.trialMs) {
      trial.over = true;
      this.#failed(trial, now, 'did not answer in time');
    }
  }

  #answered(start: Start, now: number): void {
    this.#settle(now);
    if (start.over || start.answered) return;
    start.answered = true;
    this.#young.add(start);
    // Of those that started before it opened, one would always answer where many start, answer and die.
    if (this.#trial === start) this.#close(now);
  }

  #ended(start: Start, now: number, why: string, asked: boolean): void {
    this.#settle(now);
    if (start.over) return;
    start.over = true;
    this.#young.delete(start);
    if (asked) {
      if (this.#trial === start) this.#trial = null;
      if (start.answered) this.#healthy(start, now);
    } else if (!start.answered || now - start.at < this.#numbers.healthyMs) this.#failed(start, now, why);
  }

  #healthy({ number }: Start, now: number): void {
    if (number < this.#lastFailed) return;
    this.#failures = 0;
    this.#opened = 0;
    this.#close(now);
  }

  #failed(start: Start, now: number, why: string): void {
    this.#failures++;
    this.#why = why;
    this.#lastFailed = Math.max(this.#lastFailed, start.number);
    if (this.#trial === start || (this.#retryAt === null && this.#failures >= this.#numbers.failures))
      this.#open(now);
  }

  #close(now: number): void {
    if (this.#retryAt === null) return;
    this.#retryAt = null;
    this.#trial = null;
    this.#ports.changed(this.state(now), this.#why);
  }

  #open(now: number): void {
    this.#trial = null;
    const { waitMs, longestWaitMs } = this.#numbers;
    const wait = Math.min(longestWaitMs, waitMs * 2 ** this.#opened++);
    this.#retryAt = now + wait * (1 - JITTER * this.#ports.random());
    this.#ports.changed(this.state(now), this.#why);
  }
}
