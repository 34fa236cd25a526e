/** What makes a separate user for the daemon worthless: an agent that becomes root without being asked. */
import type { Check } from '../check.ts';
import type { Context } from '../context.ts';
import { type Finding, fine, problem } from '../finding.ts';
import type { Machine } from '../machine.ts';

const SUDO_MS = 5_000;

const sockets = ['/run/docker.sock', '/var/run/docker.sock', '/run/containerd/containerd.sock'];

/** Groups whose members are root by another name. */
const groups = ['docker', 'lxd', 'incus', 'libvirt', 'disk'];

function mightyGroups(machine: Machine): string[] {
  const lines = (machine.read('/etc/group') ?? '').split('\n').map((line) => line.split(':'));
  return lines
    .filter(([name = '', , gid]) => groups.includes(name) && machine.groups.includes(Number(gid)))
    .map(([name]) => name as string);
}

async function sudo(machine: Machine): Promise<Finding[]> {
  const file = machine.find('sudo');
  if (file === null || (await machine.run(file, ['-n', 'true'], SUDO_MS)).code !== 0) return [];
  return [
    problem(
      'privilege.sudo',
      'sudo asks for no password: whatever runs as you, an agent too, becomes root; a separate user for the daemon is then worth nothing',
      'take NOPASSWD out of the sudoers: sudo grep -rn NOPASSWD /etc/sudoers /etc/sudoers.d',
    ),
  ];
}

function containers(machine: Machine): Finding[] {
  const open = sockets.find((path) => machine.canUse(path));
  const member = mightyGroups(machine);
  if (open === undefined && member.length === 0) return [];
  const how = member.length > 0 ? `you are in ${member.join(', ')}` : `${open} is open to you`;
  return [
    problem(
      'privilege.docker',
      `${how}: whatever runs as you, an agent too, becomes root by a container`,
      member.length > 0 ? `sudo gpasswd -d $USER ${member[0]}` : `ls -l ${open}`,
    ),
  ];
}

async function judge({ machine }: Context): Promise<Finding[]> {
  if (machine.uid === 0)
    return [
      problem(
        'privilege.root',
        'you are root: nothing is closed to what runs as you, an agent too',
        'run ostiary and agents as an ordinary user',
      ),
    ];
  const found = [...(await sudo(machine)), ...containers(machine)];
  return found.length > 0 ? found : [fine('privilege.ok', 'you do not become root without a password')];
}

export const privilege: Check = { group: 'isolation', title: 'ways to become root', run: judge };
