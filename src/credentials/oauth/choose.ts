/** Which of the logins that are kept is the one that the configuration means. */
import { coversUrl } from './discover.ts';
import type { LoginKey } from './login.ts';
import type { LoginRecord } from './login-store.ts';
import type { LoginSpec } from './spec.ts';

/** Of all logins the one that the configuration means, the newest if need be; or why none is. */
export function chooseLogin(spec: LoginSpec, records: readonly LoginRecord[]): LoginRecord | string {
  const { name, upstream, issuer } = spec;
  const own = records.filter(({ login }) => login.name === name);
  if (own.length === 0) return 'nobody has logged in yet';
  const fits = ({ resource }: LoginKey): boolean =>
    upstream === null ? resource === null : resource !== null && coversUrl(resource, new URL(upstream));
  const there = own.filter(({ login }) => fits(login));
  if (there.length === 0) return 'the login is for another address than the configuration names';
  const [newest] = there
    .filter(({ login }) => issuer === null || login.issuer === issuer)
    .sort((a, b) => b.login.obtainedAt - a.login.obtainedAt);
  return newest ?? `the login was made at ${there[0]?.login.issuer}, and the configuration names ${issuer}`;
}
