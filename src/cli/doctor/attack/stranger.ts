/** A17: the same attacks by another user of the machine, where one can be had: as root, or by a sudo that does not ask. */
import { spawn, spawnSync } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import type { Attempt, Brief } from '../../../agents/attack/brief.ts';
import { sealedForSpawn } from '../../../environment.ts';
import { attemptsOf, driveKit, kitFile } from './drive.ts';

/** `nobody`, by custom. */
const nobody = 65534;

/** Not what any user may do by nature: an abstract socket is open to all, and who has the keyring is our child. */
const attacks = ['A1', 'A2', 'A3', 'A4', 'A5', 'A9', 'A11', 'A16'];

const environment = { PATH: '/usr/bin:/bin' };

type Identity = { readonly uid: number; readonly gid: number };

/** How to become somebody else; `null` when that is not to be had. */
function stranger(): { readonly before: readonly string[]; readonly as: Identity | object } | null {
  if (process.getuid?.() === 0) return { before: [], as: { uid: nobody, gid: nobody } };
  const sudo = ['sudo', '-n', '-u', 'nobody'];
  const probe = spawnSync('sudo', [...sudo.slice(1), 'true'], {
    env: sealedForSpawn(environment),
    stdio: 'ignore',
  });
  return probe.status === 0 ? { before: [...sudo, '--'], as: {} } : null;
}

function skipped(why: string): Attempt[] {
  return [{ what: 'another user', outcome: 'skipped', why, sightings: [] }];
}

/** @param brief as the kit got it; the stranger knows as much */
export async function attackAsStranger(brief: Brief | null): Promise<readonly Attempt[]> {
  const found = stranger();
  if (found === null || brief === null) return skipped('needs root, or sudo without a password');
  const [command = '', ...args] = [...found.before, process.execPath, kitFile];
  const kit = spawn(command, args, {
    cwd: '/',
    env: sealedForSpawn(environment),
    stdio: ['pipe', 'pipe', 'ignore'],
    ...found.as,
  });
  const refused = async (): Promise<never> => {
    throw new Error('a stranger has nothing to ask for');
  };
  const trusted = {
    victims: refused,
    starts: refused,
    inspect: refused,
    use: refused,
    stranger: refused,
    upstream: refused,
  };
  kit.on('error', () => {});
  const { results, whole } = await driveKit(
    { stdin: kit.stdin as Writable, stdout: kit.stdout as Readable },
    async () => brief,
    attacks,
    trusted,
  );
  if (!whole) return skipped(`another user cannot run ${kitFile}`);
  return attemptsOf(results);
}
