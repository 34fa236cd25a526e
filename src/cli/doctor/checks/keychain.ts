/** The system's keychain, asked in the process that can be killed; no prompt is shown. */
import type { Problem } from '../../../credentials/keychain/problem.ts';
import { keychainFailure } from '../../../credentials/keychain/problem.ts';
import type { Check } from '../check.ts';
import type { ProblemCode } from '../codes.ts';
import { type Context, needsKeychain } from '../context.ts';
import { type Finding, fine, problem } from '../finding.ts';

function codeOf(reason: Problem['reason']): ProblemCode {
  switch (reason) {
    case 'no-bus':
    case 'no-service':
    case 'package-missing':
      return 'keychain.absent';
    case 'locked':
    case 'dismissed':
      return 'keychain.locked';
    default:
      return 'keychain.failed';
  }
}

async function judge(context: Context): Promise<Finding[]> {
  const [found, needed] = await Promise.all([context.keychain(), needsKeychain(context)]);
  if (found === null) return [fine('keychain.ok', 'answers, and is unlocked')];
  const { message, hint } = keychainFailure({ service: 'ostiary', account: 'doctor' }, found, 0);
  const text = message.replace(/^keychain:\S+: /, '');
  if (!needed) return [fine('keychain.unused', `${text}; nothing of the configuration needs it`)];
  return [problem(codeOf(found.reason), text, hint ?? 'ostiary secret list')];
}

export const keychain: Check = { group: 'credentials', title: 'the keychain', run: judge };
