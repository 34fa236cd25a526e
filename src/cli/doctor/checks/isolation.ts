/** What this machine offers to put around an agent: each tried, since what is installed may be forbidden. */
import { Failure } from '../../../errors.ts';
import { levelInForce } from '../../level.ts';
import type { Check } from '../check.ts';
import type { Context } from '../context.ts';
import { type Finding, fine, problem, problemOf } from '../finding.ts';
import type { Machine } from '../machine.ts';

const TRY_MS = 5_000;

/** What the sandbox needs of bubblewrap: namespaces of its own, without root. */
const sandboxed = [
  ...['--unshare-user', '--unshare-pid', '--unshare-ipc', '--unshare-uts'],
  ...['--ro-bind', '/', '/', '--dev', '/dev', '--proc', '/proc', '--tmpfs', '/tmp'],
  ...['--die-with-parent', '--cap-drop', 'ALL', '--'],
];

/** For Ubuntu 23.10 and later, whose AppArmor takes all rights from a program that makes a user namespace. */
const profile =
  "printf 'abi <abi/4.0>,\\ninclude <tunables/global>\\nprofile bwrap /usr/bin/bwrap flags=(unconfined) {\\n  userns,\\n}\\n' | sudo tee /etc/apparmor.d/bwrap && sudo apparmor_parser -r /etc/apparmor.d/bwrap";

function setting(machine: Machine, name: string): string | null {
  return machine.read(`/proc/sys/${name.replaceAll('.', '/')}`)?.trim() ?? null;
}

/** Why user namespaces are refused, and what an administrator does about it. */
function userNamespaces(machine: Machine): readonly [why: string, next: string] {
  if (setting(machine, 'kernel.apparmor_restrict_unprivileged_userns') === '1')
    return ['AppArmor takes their rights (kernel.apparmor_restrict_unprivileged_userns=1)', profile];
  if (setting(machine, 'kernel.unprivileged_userns_clone') === '0')
    return ['kernel.unprivileged_userns_clone=0', 'sudo sysctl -w kernel.unprivileged_userns_clone=1'];
  if (setting(machine, 'user.max_user_namespaces') === '0')
    return ['user.max_user_namespaces=0', 'sudo sysctl -w user.max_user_namespaces=15000'];
  return [
    'the system does not say why',
    'in a container: allow user namespaces in its seccomp and AppArmor profile; docs/doctor.md',
  ];
}

async function bubblewrap(machine: Machine): Promise<Finding> {
  const bwrap = machine.find('bwrap');
  if (bwrap === null)
    return problem(
      'isolation.bubblewrap-absent',
      'bubblewrap is not installed',
      'sudo apt install bubblewrap',
    );
  const { code, stderr } = await machine.run(bwrap, [...sandboxed, '/bin/sh', '-c', 'exit 0'], TRY_MS);
  if (code === 0) return fine('isolation.bubblewrap', `${bwrap} works without root`);
  const [why, next] = userNamespaces(machine);
  const said = stderr.trim().split('\n')[0] ?? '';
  return problem(
    'isolation.bubblewrap-refused',
    `${bwrap} is there, and user namespaces are refused: ${why}${said === '' ? '' : ` (${said})`}`,
    next,
  );
}

function landlock(machine: Machine): Finding {
  let abi: number;
  try {
    abi = machine.landlock();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return problemOf('program.koffi-missing', error, 'reinstall without --omit=optional');
  }
  if (abi === 0)
    return problem(
      'isolation.landlock-absent',
      'Landlock is not there, or off',
      'Linux 5.13 or later, with landlock in the kernel parameter lsm=',
    );
  if (abi < 6)
    return problem(
      'isolation.landlock-old',
      `Landlock ABI ${abi}: files, but neither signals nor abstract sockets`,
      'Linux 6.12 or later',
    );
  return fine('isolation.landlock', `Landlock ABI ${abi}: files, signals and abstract sockets`);
}

async function judge({ machine }: Context): Promise<Finding[]> {
  const level = problem(
    'isolation.level-0',
    levelInForce,
    'keep programs that you do not trust under another user',
  );
  if (machine.platform !== 'linux')
    return [
      level,
      problem(
        'isolation.unsupported-system',
        `nothing is known of sandboxes on ${machine.platform}`,
        'see SECURITY.md',
      ),
    ];
  return [level, await bubblewrap(machine), landlock(machine)];
}

export const isolation: Check = { group: 'isolation', title: 'the isolation of agents', run: judge };
