/** Whether each secret reference leads to a value that may go where the configuration sends it; the value goes nowhere. */
import { placementsOf } from '../../../config/credentials.ts';
import type { Config } from '../../../config/types.ts';
import type { Broker } from '../../../credentials/broker.ts';
import { destinationOf, type UpstreamDestination } from '../../../credentials/destination.ts';
import { keychainFor } from '../../../credentials/keychain/keychain.ts';
import { entryMissing } from '../../../credentials/keychain/secrets.ts';
import { type CredentialRef, formatCredentialRef } from '../../../credentials/ref.ts';
import { Failure } from '../../../errors.ts';
import { brokerHere } from '../../auth-credentials.ts';
import type { Check } from '../check.ts';
import { type Context, configOf } from '../context.ts';
import { type Finding, fine, problem, problemOf } from '../finding.ts';

interface Use {
  readonly ref: CredentialRef;
  readonly label: string;
  readonly to: UpstreamDestination;
  readonly upstream: string;
}

/** Logins have a check of their own. */
function usesOf(config: Config): Use[] {
  return [...config.upstreams.values()]
    .filter(({ lifecycle }) => lifecycle !== 'disabled')
    .flatMap((upstream) =>
      placementsOf(upstream)
        .filter(({ ref }) => ref.source !== 'oauth')
        .map(({ ref }) => ({
          ref,
          label: formatCredentialRef(ref),
          to: destinationOf(upstream),
          upstream: upstream.name,
        })),
    );
}

/** Why it is not looked up here, or `null`. */
async function heldBack({ ref }: Use, context: Context): Promise<string | null> {
  if (!context.hidden) return 'other programs of yours could read the memory of this process';
  if (ref.source === 'command') return 'its helper is run when its upstream is started';
  if (ref.source === 'keychain' && (await context.keychain()) !== null) return 'the keychain gives nothing';
  if (ref.source !== 'vault') return null;
  const { state } = await context.vault();
  if (state === 'sealed') return 'the vault is sealed';
  return state === 'open' ? null : 'there is no vault that opens';
}

async function lookUp({ ref, to }: Use, broker: Broker, context: Context): Promise<void> {
  if (ref.source !== 'keychain') await broker.acquire(ref, to);
  else if (!(await keychainFor(context.env).has(ref))) throw entryMissing(ref);
}

async function judgeOne(use: Use, broker: Broker, context: Context): Promise<Finding> {
  const reason = await heldBack(use, context);
  if (reason !== null) return fine('secret.unchecked', `${use.label}, for ${use.upstream}: ${reason}`);
  try {
    await lookUp(use, broker, context);
    return fine('secret.ok', `${use.label}, for ${use.upstream}: is there, and may go there`);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const found = problemOf('secret.unavailable', error, 'docs/credentials.md says where values come from');
    return { ...found, message: `${found.message}; ${use.upstream} needs it` };
  }
}

async function judge(context: Context): Promise<Finding[]> {
  const config = configOf(context);
  if (config === null) return [];
  const broker = brokerHere(config, context.state, context.unlock, () => {});
  const found = await Promise.all(usesOf(config).map((use) => judgeOne(use, broker, context)));
  const short = broker
    .knownLabels()
    .filter(({ redactable }) => !redactable)
    .map(({ label }) =>
      problem(
        'secret.short',
        `${label}: too short to be taken out of answers`,
        'have its issuer make a longer one, then ostiary secret rotate NAME',
      ),
    );
  return [...found, ...short];
}

export const secrets: Check = { group: 'credentials', title: 'the secrets', run: judge };
