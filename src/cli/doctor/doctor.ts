/** `ostiary doctor` without options for attacks: looks at everything that people trip over, and changes nothing. */
import { exitCodes } from '../../errors.ts';
import { hide } from '../../os/index.ts';
import { type Check, type Examined, examineAll } from './check.ts';
import { clients } from './checks/clients.ts';
import { configuration } from './checks/configuration.ts';
import { daemon } from './checks/daemon.ts';
import { environment } from './checks/environment.ts';
import { files } from './checks/files.ts';
import { isolation } from './checks/isolation.ts';
import { keychain } from './checks/keychain.ts';
import { logins } from './checks/logins.ts';
import { port } from './checks/port.ts';
import { privilege } from './checks/privilege.ts';
import { program } from './checks/program.ts';
import { records } from './checks/records.ts';
import { secrets } from './checks/secrets.ts';
import { system } from './checks/system.ts';
import { upstreams } from './checks/upstreams.ts';
import { vault } from './checks/vault.ts';
import { exitKindOf } from './codes.ts';
import { contextHere, type DoctorOptions } from './context.ts';
import { asJson, asText } from './report.ts';

export const checks: readonly Check[] = [
  configuration,
  files,
  vault,
  keychain,
  secrets,
  logins,
  daemon,
  port,
  upstreams,
  program,
  isolation,
  system,
  privilege,
  environment,
  clients,
  records,
];

/** Without koffi it is not hidden, which a check reports; the others go on without secrets. */
function hideOurselves(): boolean {
  try {
    return process.platform !== 'linux' || hide().every(({ inForce }) => inForce);
  } catch {
    return false;
  }
}

/** 0 without a failure; the code of their kind when all are of one; else that of a failure. */
export function exitCodeOf(examined: readonly Examined[]): number {
  const failed = examined.flatMap(({ findings }) => findings).filter(({ level }) => level === 'fail');
  const kinds = new Set(failed.map(({ code }) => exitKindOf(code)));
  const [first] = kinds;
  if (first === undefined) return 0;
  return exitCodes[kinds.size === 1 ? first : 'failure'];
}

export async function diagnose(options: DoctorOptions & { readonly json?: boolean }): Promise<void> {
  const context = contextHere(options, hideOurselves());
  const examined = await examineAll(checks, context);
  const { stdout } = process;
  const colourful = stdout.isTTY === true && process.env.NO_COLOR === undefined;
  const text = options.json === true ? asJson(examined) : asText(examined, colourful);
  await new Promise<void>((resolve) => stdout.write(text, () => resolve()));
  // What gave no answer may not let go of this process either.
  process.exit(exitCodeOf(examined));
}
