/** What this machine offers to put around an agent: each tried, since what is installed may be forbidden. */
import { Failure } from '../../../errors.ts';
import type { Check } from '../check.ts';
import type { Context } from '../context.ts';
import { type Finding, fine, problem, problemOf } from '../finding.ts';
import type { Machine } from '../machine.ts';

/** Ubuntu's own, which lets bubblewrap make user namespaces and what it starts not; 25.04 and later have it in force. */
const profile = 'bwrap-userns-restrict';
const loadProfile = [
  'sudo apt install apparmor-profiles',
  `sudo install -m 0644 /usr/share/apparmor/extra-profiles/${profile} /etc/apparmor.d/`,
  `sudo apparmor_parser -r /etc/apparmor.d/${profile}`,
].join(' && ');

function setting(machine: Machine, name: string): string | null {
  return machine.read(`/proc/sys/${name.replaceAll('.', '/')}`)?.trim() ?? null;
}

/** Why user namespaces are refused, and what an administrator does about it. */
function userNamespaces(machine: Machine): readonly [why: string, next: string] {
  if (setting(machine, 'kernel.apparmor_restrict_unprivileged_userns') === '1')
    return ['AppArmor takes their rights (kernel.apparmor_restrict_unprivileged_userns=1)', loadProfile];
  if (setting(machine, 'kernel.unprivileged_userns_clone') === '0')
    return ['kernel.unprivileged_userns_clone=0', 'sudo sysctl -w kernel.unprivileged_userns_clone=1'];
  if (setting(machine, 'user.max_user_namespaces') === '0')
    return ['user.max_user_namespaces=0', 'sudo sysctl -w user.max_user_namespaces=15000'];
  return [
    'the system does not say why',
    'in a container: allow user namespaces in its seccomp and AppArmor profile; docs/doctor.md',
  ];
}

function bubblewrap(machine: Machine): Finding {
  const found = machine.bubblewrap();
  if (found.works) return fine('isolation.bubblewrap', `${found.program} works without root`);
  if (found.why.startsWith('not installed'))
    return problem(
      'isolation.bubblewrap-absent',
      `bubblewrap is ${found.why}`,
      'sudo apt install bubblewrap',
    );
  const [why, next] = userNamespaces(machine);
  return problem(
    'isolation.bubblewrap-refused',
    `bubblewrap is there and does not work (${found.why}): ${why}`,
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

function seccomp(machine: Machine): Finding {
  if (setting(machine, 'kernel.seccomp.actions_avail')?.includes('errno'))
    return fine('isolation.seccomp', 'system calls can be refused');
  return problem(
    'isolation.seccomp-absent',
    'the kernel does not say that it can refuse system calls',
    'a kernel with CONFIG_SECCOMP_FILTER',
  );
}

async function level({ sandbox }: Context): Promise<Finding> {
  const found = await sandbox();
  if (found instanceof Failure)
    return problemOf('isolation.refused', found, 'install bubblewrap, and allow user namespaces');
  if (found.mechanism !== 'none') return fine('isolation.level-1', `ostiary run: ${found.level}`);
  return problem(
    'isolation.level-0',
    `ostiary run: ${found.level}`,
    'take isolation: none out of the configuration',
  );
}

async function judge(context: Context): Promise<Finding[]> {
  const { machine } = context;
  const inForce = await level(context);
  if (machine.platform !== 'linux') return [inForce];
  return [inForce, bubblewrap(machine), landlock(machine), seccomp(machine)];
}

export const isolation: Check = { group: 'isolation', title: 'the isolation of agents', run: judge };
