/** What the machine, its user and our own program are like. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Check } from '../../../src/cli/doctor/check.ts';
import { isolation } from '../../../src/cli/doctor/checks/isolation.ts';
import { privilege } from '../../../src/cli/doctor/checks/privilege.ts';
import {
  inRange,
  judgeInspector,
  judgeNode,
  judgeNpm,
  judgePeer,
} from '../../../src/cli/doctor/checks/program.ts';
import { system } from '../../../src/cli/doctor/checks/system.ts';
import { type Code, exitKindOf } from '../../../src/cli/doctor/codes.ts';
import { Failure } from '../../../src/errors.ts';
import { codesOf, context, machine, noted, run } from './support.ts';

describe('states that a machine is in or not', () => {
  const seccomp = '/proc/sys/kernel/seccomp/actions_avail';
  const apparmor = '/proc/sys/kernel/apparmor_restrict_unprivileged_userns';
  const cases: [Check, Parameters<typeof machine>[0], Code[]][] = [
    [
      isolation,
      { files: { [seccomp]: 'kill errno\n' } },
      ['isolation.bubblewrap', 'isolation.landlock', 'isolation.seccomp'],
    ],
    [
      isolation,
      { noBubblewrap: 'not installed (/usr/bin/bwrap)', abi: 0 },
      ['isolation.bubblewrap-absent', 'isolation.landlock-absent', 'isolation.seccomp-absent'],
    ],
    [
      isolation,
      { noBubblewrap: 'setting up uid map: Permission denied', abi: 3 },
      ['isolation.bubblewrap-refused', 'isolation.landlock-old', 'isolation.seccomp-absent'],
    ],
    [isolation, { platform: 'darwin' }, []],
    [system, {}, ['system.ptrace-open', 'system.core', 'system.swap']],
    [
      system,
      {
        files: {
          '/proc/sys/kernel/yama/ptrace_scope': '1\n',
          '/proc/sys/kernel/core_pattern': '|/usr/lib/systemd/systemd-coredump %P\n',
          '/proc/swaps': 'Filename Type\n/dev/zram0 partition\n/dev/sda2 partition\n',
        },
      },
      ['system.ptrace', 'system.core-piped', 'system.swap-on-disk'],
    ],
    [privilege, { uid: 0 }, ['privilege.root']],
    [privilege, {}, ['privilege.ok']],
    [privilege, { programs: ['sudo'] }, ['privilege.ok']],
    [privilege, { programs: ['sudo'], work: ['/usr/bin/sudo'] }, ['privilege.sudo']],
    [privilege, { usable: ['/run/docker.sock'] }, ['privilege.docker']],
    [
      privilege,
      { groups: [999], files: { '/etc/group': 'x:x:1:\ndocker:x:999:me\n' } },
      ['privilege.docker'],
    ],
  ];
  for (const [check, told, expected] of cases)
    it(expected.join(', ') || 'not Linux', async () => {
      const found = await run(check, { machine: machine(told) });
      assert.deepEqual(
        codesOf(found).filter((code) => code !== 'isolation.level-1'),
        expected,
      );
    });

  it('says how user namespaces are allowed again, by what forbids them', async () => {
    const noBubblewrap = 'setting up uid map: Permission denied';
    const told = { noBubblewrap, files: { [apparmor]: '1\n' } };
    const [, refused] = await run(isolation, { machine: machine(told) });
    assert.match(refused?.message ?? '', /Permission denied\): .*apparmor_restrict_unprivileged_userns=1/);
    assert.match(refused?.next ?? '', /bwrap-userns-restrict/);
    const [, off] = await run(isolation, {
      machine: machine({ noBubblewrap, files: { '/proc/sys/user/max_user_namespaces': '0\n' } }),
    });
    assert.equal(off?.next, 'sudo sysctl -w user.max_user_namespaces=15000');
  });

  it('says what run would do: without a sandbox if told so, else nothing', async () => {
    const none = async () => ({ mechanism: 'none', level: 'level L0' }) as const;
    assert.equal((await run(isolation, { sandbox: none }))[0]?.code, 'isolation.level-0');
    const refusal = new Failure('isolation', 'cannot put the agent into a sandbox');
    const [refused] = await run(isolation, { sandbox: async () => refusal });
    assert.equal(refused?.code, 'isolation.refused');
    assert.equal(exitKindOf('isolation.refused'), 'isolation');
    assert.deepEqual(codesOf(await run(isolation, { koffi: false })), ['isolation.unchecked']);
  });

  it('of Node, npm, koffi and peers', async () => {
    const range = '^20.19.0 || ^22.12.0 || >=26.0.0';
    const inside = ['20.19.0', '20.20.2', '22.12.0', '26.0.0', '27.1.0'];
    for (const one of inside) assert.ok(inRange(one, range), one);
    for (const one of ['18.20.0', '20.18.9', '21.0.0', '22.11.0', '25.9.0'])
      assert.ok(!inRange(one, range), one);
    assert.deepEqual(codesOf(noted(judgeNode('18.0.0'))), ['program.node-unsupported']);
    assert.deepEqual(codesOf(noted(judgeNpm(null))), ['program.npm-missing']);
    const other = context({ machine: machine({ uid: 4711 }) });
    assert.deepEqual(codesOf(noted(await judgePeer(other))), ['program.peer-unknown']);
    const broken = async () => {
      throw new Failure('daemon', 'cannot load koffi');
    };
    assert.deepEqual(codesOf(noted(await judgePeer(other, broken))), ['program.koffi-missing']);
    assert.deepEqual(codesOf(noted(judgeInspector('ws://127.0.0.1:9229'))), ['program.inspector-open']);
  });
});
