/** The circuit breaker under a clock that the test turns. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { isRefusal, type Refusal } from '../../src/errors.ts';
import { type Attempt, Breaker, type BreakerNumbers } from '../../src/upstreams/breaker.ts';

const numbers: BreakerNumbers = {
  failures: 3,
  waitMs: 1000,
  longestWaitMs: 60_000,
  healthyMs: 10_000,
  trialMs: 5000,
};

/** A breaker with its clock, and what it said. */
class Bench {
  now = 0;
  random = 0;
  readonly changes: string[] = [];
  readonly breaker = new Breaker('x', numbers, {
    random: () => this.random,
    changed: ({ state, failures, retryInMs }, why) =>
      this.changes.push(`${this.now} ${state} ${failures} ${retryInMs} ${why}`),
  });

  start(): Attempt {
    const attempt = this.breaker.admit(this.now);
    assert(!isRefusal(attempt), 'refused');
    return attempt;
  }

  refusal(): Refusal {
    const refusal = this.breaker.admit(this.now);
    assert(isRefusal(refusal), 'admitted');
    return refusal;
  }

  fail(times = 1): void {
    for (let i = 0; i < times; i++) this.start().ended(this.now, 'exited with code 1', false);
  }

  get state(): string {
    const { state, failures, retryInMs } = this.breaker.state(this.now);
    return `${state} ${failures} ${retryInMs}`;
  }
}

describe('the circuit', () => {
  it('opens after so many failures in a row, and says how long', () => {
    const bench = new Bench();
    bench.fail(2);
    assert.equal(bench.state, 'closed 2 0');
    bench.fail();
    assert.equal(bench.state, 'open 3 1000');
    assert.deepEqual(bench.refusal(), {
      refused: 'upstream_unavailable',
      reason: 'upstream x failed 3 times in a row, and last exited with code 1; retry in 1 s',
      data: { retryAfterSeconds: 1 },
    });
    bench.now = 999;
    assert.equal(bench.refusal().data?.retryAfterSeconds, 1, 'never 0');
    bench.now = 1000;
    assert.equal(bench.state, 'half-open 3 0');
    bench.start();
  });

  it('lets one try; its failure opens for twice as long, up to a bound', () => {
    const bench = new Bench();
    bench.fail(3);
    const waits: number[] = [];
    for (let i = 0; i < 9; i++) {
      const { retryInMs } = bench.breaker.state(bench.now);
      waits.push(retryInMs);
      bench.now += retryInMs;
      const trial = bench.start();
      assert.match(bench.refusal().reason, /retry in 1 s$/);
      trial.ended(bench.now, 'exited with code 2', false);
    }
    assert.deepEqual(waits, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
  });

  it('closes when the trial answers; the next failure opens it again, for longer', () => {
    const bench = new Bench();
    bench.fail(3);
    bench.now = 1000;
    const trial = bench.start();
    trial.answered(1200);
    assert.equal(bench.breaker.state(1200).state, 'closed');
    bench.now = 1300;
    bench.start();
    trial.ended(1300, 'was ended by SIGSEGV', false);
    assert.equal(bench.state, 'open 4 2000');
    assert.deepEqual(bench.changes, [
      '0 open 3 1000 exited with code 1',
      '1000 closed 3 0 exited with code 1',
      '1300 open 4 2000 was ended by SIGSEGV',
    ]);
  });

  it('forgets everything once a child answered and got old', () => {
    const bench = new Bench();
    bench.fail(3);
    bench.now = 1000;
    const trial = bench.start();
    trial.answered(1001);
    bench.now = 10_999;
    assert.equal(bench.state, 'closed 3 0');
    bench.now = 11_000;
    assert.equal(bench.state, 'closed 0 0');
    trial.ended(11_000, 'exited with code 1', false);
    assert.equal(bench.state, 'closed 0 0', 'it had been healthy: no failure to start');
    bench.fail(3);
    assert.equal(bench.state, 'open 3 1000', 'and the waits begin anew');
  });

  it('forgets everything, too, once a child answered and ended because we wanted it to', () => {
    const bench = new Bench();
    bench.fail(2);
    const short = bench.start();
    short.answered(0);
    short.ended(1, '', true);
    assert.equal(bench.state, 'closed 0 0');
  });

  it('counts neither what we end before it answers, nor what is over', () => {
    const bench = new Bench();
    bench.fail(2);
    const left = bench.start();
    left.ended(0, '', true);
    left.ended(0, 'exited with code 1', false);
    left.answered(0);
    assert.equal(bench.state, 'closed 2 0');
    bench.fail();
    bench.now = 1000;
    bench.start().ended(1000, '', true);
    assert.equal(bench.state, 'half-open 3 0', 'a client that left decides nothing');
    bench.start();
  });

  it('is not closed by the health of one that started before the failures', () => {
    const bench = new Bench();
    const old = bench.start();
    old.answered(0);
    bench.fail(3);
    old.ended(5, '', true);
    assert.equal(bench.breaker.state(5).state, 'open');
    const bench2 = new Bench();
    bench2.start().answered(0);
    bench2.now = 9000;
    bench2.fail(3);
    bench2.now = 10_000;
    assert.equal(bench2.state, 'half-open 3 0');
  });

  it('takes a trial that neither answers nor ends for a failure', () => {
    const bench = new Bench();
    bench.fail(3);
    bench.now = 1000;
    const stuck = bench.start();
    bench.now = 5999;
    bench.refusal();
    bench.now = 6000;
    assert.equal(bench.state, 'open 4 2000');
    stuck.answered(6000);
    stuck.ended(6000, 'exited with code 1', false);
    assert.equal(bench.state, 'open 4 2000', 'what it does now is too late');
  });

  it('takes up to a quarter off each wait', () => {
    const bench = new Bench();
    bench.random = 1;
    bench.fail(3);
    assert.equal(bench.state, 'open 3 750');
  });
});

/** What a life may be like: milliseconds after its start for the answer, and for its end. */
interface Life {
  readonly answersAt: number | null;
  readonly endsAt: number;
}

const life = fc.record({
  answersAt: fc.option(fc.nat(3000)),
  endsAt: fc.nat(numbers.healthyMs - 1),
});

/** Every 100 ms somebody wants the upstream, for `hours`; each start lives as `lives` says. @returns times of starts */
function demand(lives: readonly Life[], hours: number, random: number): number[] {
  const bench = new Bench();
  bench.random = random;
  const starts: number[] = [];
  let events: { at: number; run: (at: number) => void }[] = [];
  for (; bench.now < hours * 3_600_000; bench.now += 100) {
    const due = events.filter(({ at }) => at <= bench.now).sort((a, b) => a.at - b.at);
    events = events.filter(({ at }) => at > bench.now);
    for (const { at, run } of due) run(at);
    const attempt = bench.breaker.admit(bench.now);
    if (isRefusal(attempt)) continue;
    const { answersAt, endsAt } = lives[starts.length % lives.length] as Life;
    starts.push(bench.now);
    if (answersAt !== null && answersAt < endsAt)
      events.push({ at: bench.now + answersAt, run: (at) => attempt.answered(at) });
    events.push({ at: bench.now + endsAt, run: (at) => attempt.ended(at, 'exited', false) });
  }
  return starts;
}

describe('whatever happens', () => {
  it('what keeps dying young is started ever more rarely, though it answers each time', () => {
    fc.assert(
      fc.property(
        fc.array(life, { minLength: 1, maxLength: 8 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (lives, random) => {
          const starts = demand(lives, 2, random);
          const late = starts.filter((at) => at > 3_600_000);
          // At least 45 s between two trials by then; one that answers lets others in for the time that it lives.
          const alive = Math.max(
            ...lives.map(({ answersAt, endsAt }) => (answersAt === null ? 0 : endsAt - answersAt)),
            0,
          );
          const perTrial = 1 + Math.ceil(alive / 100);
          assert(late.length <= (3600 / 45 + 1) * perTrial, `${late.length} starts in the second hour`);
          assert(late.length > 0, 'it is never given up');
        },
      ),
      { numRuns: 40 },
    );
  });

  type Step =
    | { readonly do: 'wait'; readonly ms: number }
    | { readonly do: 'admit' }
    | { readonly do: 'answer' | 'fail' | 'stop'; readonly which: number };

  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 2, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.nat(20_000) }) },
    { weight: 4, arbitrary: fc.constant({ do: 'admit' as const }) },
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constantFrom('answer' as const, 'fail' as const, 'stop' as const),
        which: fc.nat(20),
      }),
    },
  );

  it('open means refused until the wait is over; half-open admits one; closed admits all', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 200 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (steps, random) => {
          const bench = new Bench();
          bench.random = random;
          const attempts: Attempt[] = [];
          const starts: number[] = [];
          let trialUntil = 0;
          for (const each of steps) {
            const before = bench.breaker.state(bench.now);
            if (each.do === 'wait') bench.now += each.ms;
            else if (each.do === 'admit') {
              const got = bench.breaker.admit(bench.now);
              if (before.state === 'closed') assert(!isRefusal(got));
              if (before.state === 'open') assert(isRefusal(got));
              if (before.state === 'half-open' && !isRefusal(got)) trialUntil = bench.now + numbers.trialMs;
              else if (before.state === 'half-open')
                assert(bench.now < trialUntil, 'only a trial stands in the way');
              if (isRefusal(got)) {
                const seconds = got.data?.retryAfterSeconds;
                assert.equal(seconds, Math.max(1, Math.ceil(before.retryInMs / 1000)));
                assert(got.reason.endsWith(`; retry in ${seconds} s`));
              } else {
                attempts.push(got);
                starts.push(bench.now);
              }
            } else {
              const attempt = attempts[each.which % Math.max(1, attempts.length)];
              if (each.do === 'answer') attempt?.answered(bench.now);
              else attempt?.ended(bench.now, 'exited', each.do === 'stop');
              const after = bench.breaker.state(bench.now);
              if (each.do === 'fail')
                assert(after.failures === before.failures || after.failures === before.failures + 1);
              else assert(after.failures === before.failures || after.failures === 0);
              if (each.do !== 'fail')
                assert(after.state !== 'open' || before.state === 'open', 'opened without a failure');
              const old = starts.some((at) => bench.now - at >= numbers.healthyMs);
              if (each.do === 'answer')
                assert(after.failures === before.failures || old, 'an answer alone forgets nothing');
            }
            const { state, failures, retryInMs } = bench.breaker.state(bench.now);
            assert(retryInMs <= numbers.longestWaitMs);
            assert(state === 'open' ? retryInMs > 0 : retryInMs === 0);
            if (state === 'open') assert(failures >= numbers.failures);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});
