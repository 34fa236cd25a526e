/** What `run` and the launcher say to each other: one line of JSON each way, on descriptor 3 of the launcher. */
import type { FileRule } from '../../os/landlock.ts';
import type { Abilities } from './isolation.ts';

/** The launcher's only line, when it has tried what it can. */
export type Report = Abilities;

interface AgentOrder {
  /** Absolute path. */
  readonly file: string;
  /** Without the program's name. */
  readonly args: readonly string[];
  /** The agent's whole environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly directory: string;
}

export type Order =
  | (AgentOrder & {
      readonly by: 'bubblewrap';
      readonly program: string;
      readonly options: readonly string[];
      /** What comes before the agent's command: starter.ts. */
      readonly starter: readonly string[];
    })
  | (AgentOrder & { readonly by: 'landlock'; readonly rules: readonly FileRule[] });
