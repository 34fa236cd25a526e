/** Which sandbox an agent gets: what the user wishes, and what this machine was found to be able to do. */
import { Failure } from '../../errors.ts';
import { landlockNeeds } from '../../os/landlock.ts';

export const isolations = ['auto', 'bubblewrap', 'landlock', 'none'] as const;

/** Value of `--isolation` and `agent.isolation`. */
export type Isolation = (typeof isolations)[number];

export type Mechanism = 'bubblewrap' | 'landlock' | 'seatbelt' | 'none';

/** What a launcher found by trying it, never by looking whether something is installed. */
export interface Abilities {
  /** ABI of the kernel's Landlock; 0: none. */
  readonly landlock: number;
  /** Whether the launcher, and with it the agent, has an empty session keyring. */
  readonly keyring: boolean;
  /** Whether system calls can be refused: the machine is one whose numbers we know. */
  readonly seccomp: boolean;
  readonly bubblewrap: Bubblewrap;
}

export type Bubblewrap =
  | {
      readonly works: true;
      readonly program: string;
      readonly flags: readonly string[];
      readonly starter: readonly string[];
    }
  | { readonly works: false; readonly why: string };

export const noAbilities: Abilities = {
  landlock: 0,
  keyring: false,
  seccomp: false,
  bubblewrap: { works: false, why: 'not tried' },
};

const goOn = 'or, knowing that the agent can then read your secrets: --isolation none';

function whyNoLandlock({ landlock, seccomp }: Abilities): string | null {
  if (landlock === 0) return 'this kernel has no Landlock, or has it switched off';
  return seccomp ? null : `system calls of ${process.arch} are not known`;
}

/**
 * @throws {Failure} when what is wished for does not work here, or nothing does: an agent without a sandbox is started
 *   by `none` alone
 */
export function chooseMechanism(wish: Isolation, abilities: Abilities): Mechanism {
  if (wish === 'none') return 'none';
  if (process.platform === 'darwin' && wish === 'auto') return 'seatbelt';
  const { bubblewrap } = abilities;
  const noLandlock = whyNoLandlock(abilities);
  if (wish !== 'landlock' && bubblewrap.works && abilities.seccomp) return 'bubblewrap';
  if (wish !== 'bubblewrap' && noLandlock === null) return 'landlock';
  const why = [
    ...(wish === 'landlock'
      ? []
      : [
          `bubblewrap: ${bubblewrap.works ? `system calls of ${process.arch} are not known` : bubblewrap.why}`,
        ]),
    ...(wish === 'bubblewrap' ? [] : [`landlock: ${noLandlock}`]),
  ].join('; ');
  throw new Failure('isolation', `cannot put the agent into a sandbox: ${why}`, {
    hint: `install bubblewrap, and allow unprivileged user namespaces (docs/sandbox.md); ${goOn}`,
  });
}

/** What stays open although the mechanism is in force, for the kernel cannot close it. */
export function stillOpen(mechanism: Mechanism, { landlock }: Abilities): string[] {
  const open: string[] = [];
  const scopes = landlock >= landlockNeeds.scopes;
  if (mechanism === 'bubblewrap' && !scopes) open.push('abstract sockets');
  if (mechanism === 'landlock' && !scopes) open.push('signals to your other processes');
  if (mechanism === 'landlock' && landlock < landlockNeeds.truncate)
    open.push('emptying files by truncate(2)');
  return open;
}

/** The level in force, in one line. What each level promises: SECURITY.md. */
export function describeLevel(mechanism: Mechanism, abilities: Abilities): string {
  if (mechanism === 'none')
    return 'level L0: the agent is NOT sandboxed (--isolation none); whatever it starts can reach your secrets and those of ostiary (SECURITY.md)';
  if (mechanism === 'seatbelt')
    return 'level L1: the agent is sandboxed by Seatbelt, which nobody has tested yet (SECURITY.md)';
  const open = stillOpen(mechanism, abilities);
  const but = open.length === 0 ? '' : `; not closed by this kernel: ${open.join(', ')}`;
  return `level L1: the agent is sandboxed by ${mechanism === 'landlock' ? 'Landlock and seccomp' : 'bubblewrap'}${but}`;
}
