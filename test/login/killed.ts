/** A process that renews a login and is killed, by itself, at the step that it is told. `OSTIARY_TEST` says which. */
import { loginId } from '../../src/credentials/oauth/login-store.ts';
import { refresherPorts } from '../../src/credentials/oauth/open.ts';
import { Refresher, type RefresherPorts } from '../../src/credentials/oauth/refresher.ts';
import { Vault } from '../../src/credentials/vault.ts';

export type Step =
  | 'in turn'
  | 'attempt noted'
  | 'asking'
  | 'asked'
  | 'answer read'
  | 'stored'
  | 'forgotten'
  | 'none';

const { state, step, callers } = JSON.parse(process.env.OSTIARY_TEST ?? '') as {
  state: string;
  step: Step;
  callers: number;
};

function dieAt(reached: Step): void {
  if (reached === step) process.kill(process.pid, 'SIGKILL');
}

const { logins } = await Vault.open(state, {});
const real = refresherPorts(logins, state);
const ports: RefresherPorts = {
  ...real,
  store: {
    ...logins,
    put: async (record) => {
      if (record.attempt === null) dieAt('answer read');
      await logins.put(record);
      dieAt(record.attempt === null ? 'stored' : 'attempt noted');
    },
  },
  turn: (id, work) =>
    real.turn(id, (lock) => {
      dieAt('in turn');
      return work(lock);
    }),
  ask: async (...asked) => {
    const over = real.ask(...asked);
    // The other process has its input by the next turn of the event loop.
    if (step === 'asking') setTimeout(() => dieAt('asking'), 5);
    await over;
    dieAt('asked');
  },
  forget: (id) => {
    real.forget(id);
    dieAt('forgotten');
  },
};
const [record] = await logins.list();
if (record === undefined) throw new Error('no login');
const refresher = new Refresher(ports);
const outcomes = await Promise.all(Array.from({ length: callers }, () => refresher.current(record.login)));
const tokens = new Set(outcomes.map((one) => (one.ok ? one.record.login.accessToken : one.message)));
process.stdout.write(
  JSON.stringify({ id: loginId(record.login), tokens: tokens.size, ok: outcomes.every(({ ok }) => ok) }),
);
