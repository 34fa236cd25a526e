/** OAuth logins: whether somebody has to log in, now or soon. */
import type { LoginSpec } from '../../../credentials/oauth/spec.ts';
import { isMachineFlow } from '../../../credentials/oauth/spec.ts';
import { type LoginStatus, statusOf } from '../../auth-status.ts';
import type { Check } from '../check.ts';
import { type Context, configOf, type VaultState } from '../context.ts';
import { type Finding, fine, problem } from '../finding.ts';

function judgeStatus({ name, state, problem: trouble, expires, refreshable }: LoginStatus): Finding[] {
  const login = `ostiary auth login ${name}`;
  if (state === 'automatic')
    return [fine('login.automatic', `${name}: needs nobody to log in; asked when its upstream is started`)];
  if (state === 'not logged in')
    return [problem('login.needed', `${name}: ${trouble ?? 'not logged in'}`, login)];
  const until = expires === null ? '' : `; its token expires ${expires}`;
  const found: Finding[] = [];
  if (trouble !== null)
    found.push(
      problem(
        'login.problem',
        `${name}: the last refresh failed: ${trouble}`,
        `ostiary auth refresh ${name}`,
      ),
    );
  if (refreshable) found.push(fine('login.ok', `${name}: logged in, renewed by itself${until}`));
  else if (expires === null) found.push(fine('login.ok', `${name}: logged in`));
  else found.push(problem('login.not-renewable', `${name}: logged in, but cannot be renewed${until}`, login));
  return found;
}

async function judgeOne(spec: LoginSpec, vault: VaultState): Promise<Finding[]> {
  if (vault.state === 'open') return judgeStatus(statusOf(spec, await vault.vault.logins.list(), Date.now()));
  if (vault.state === 'none' || isMachineFlow(spec.flow)) return judgeStatus(statusOf(spec, [], Date.now()));
  return [fine('login.unchecked', `${spec.name}: logins lie in the vault, which is not open`)];
}

async function judge(context: Context): Promise<Finding[]> {
  const logins = [...(configOf(context)?.logins.values() ?? [])];
  if (logins.length === 0) return [];
  const vault = await context.vault();
  return (await Promise.all(logins.map((spec) => judgeOne(spec, vault)))).flat();
}

export const logins: Check = { group: 'credentials', title: 'the logins', run: judge };
