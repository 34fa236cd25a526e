/**
 * What the trusted side and the attack kit tell each other: lines of JSON on the kit's standard input and output. The
 * kit knows all that an attacker could learn, where things are and which process is which, but no secret.
 */

/** A process that holds, or may hold, a secret. */
export interface Target {
  /** Label of the secret in it. */
  readonly name: string;
  /** `command`: `ostiary run`; `job`: the shell above it; `descendant`: what an upstream has started. */
  readonly role: 'daemon' | 'command' | 'job' | 'upstream' | 'descendant';
  /** In the namespace of the trusted side. */
  readonly pid: number;
  /** As `processStart` tells it: the pid alone may name another process elsewhere. */
  readonly start: string;
  /** Runs on Node, which takes SIGUSR1 as a wish for its inspector. */
  readonly node: boolean;
}

/** Something that is there to be attacked, or why it is not on this machine. */
export type Door = { readonly at: string } | { readonly absent: string };

export interface Places {
  /** Holds everything of the private world; nothing outside is written to. */
  readonly root: string;
  readonly home: string;
  readonly project: string;
  readonly config: string;
  readonly state: string;
  readonly runtime: string;
  /** Directory of the programs of the upstreams. */
  readonly programs: string;
  /** A file that a `file:` reference names. */
  readonly plain: string;
  /** A file with a secret in the state directory: stands for whatever is there. */
  readonly stateMarker: string;
}

export interface Brief {
  readonly targets: readonly Target[];
  readonly places: Places;
  /** Socket of the control plane, as `at` in a {@link Door}. */
  readonly control: Door;
  /** The loopback endpoint, `http://127.0.0.1:PORT`. */
  readonly endpoint: Door;
  /** Path of the D-Bus socket behind which the Secret Service holds an item. */
  readonly bus: Door;
  /** Description of keys in the kernel's keyrings. */
  readonly key: Door;
  /** Sockets that give a secret to whoever connects, as an agent of ssh or a terminal multiplexer does. */
  readonly abstractSocket: Door;
  readonly runtimeSocket: Door;
  /** Services of the machine through which code runs outside. */
  readonly docker: Door;
  readonly tmux: Door;
  readonly userManager: Door;
  /** Command and arguments of ostiary, none where there is none; and the environment in which the user runs it. */
  readonly ostiary: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

/** A canary that was seen: its label and the SHA-256 of its value, which only the trusted side can tell from a guess. */
export interface Sighting {
  readonly label: string;
  readonly digest: string;
}

export interface Attempt {
  /** What was tried, such as `/proc/PID/environ of node`. */
  readonly what: string;
  /** `unproven`: it failed for a reason that is no refusal, so it says nothing. */
  readonly outcome: 'leak' | 'denied' | 'skipped' | 'unproven';
  readonly why: string;
  /** Of a leak of values; a leak without any opened a door instead. */
  readonly sightings: readonly Sighting[];
}

export interface AttackResult {
  /** Its number, such as `A1`. */
  readonly attack: string;
  readonly attempts: readonly Attempt[];
}

/**
 * What the kit asks of the trusted side. `victims`: a fresh session whose processes may be killed. `starts`: start
 * upstreams, many times. `inspect`: which of the guarded places have changed. `use`: be the user, who runs the next
 * command; which planted programs ran? `stranger`: what does another user get?
 * `upstream`: what does an upstream get of the others?
 */
export type Question = 'victims' | 'starts' | 'inspect' | 'use' | 'stranger' | 'upstream';

export interface Answers {
  readonly victims: { readonly targets: readonly Target[] };
  readonly starts: { readonly starts: number };
  readonly inspect: { readonly changed: readonly string[] };
  readonly use: { readonly ran: readonly string[] };
  readonly stranger: { readonly attempts: readonly Attempt[] };
  readonly upstream: { readonly attempts: readonly Attempt[] };
}

export type FromKit =
  | { readonly ready: true }
  | { readonly ask: Question }
  | { readonly result: AttackResult }
  | { readonly over: true };
