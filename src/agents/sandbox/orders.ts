/**
 * What `run` and the launcher say to each other on descriptor 3 of the launcher: one line of JSON each way, then
 * {@link nothingLeft}.
 */
import type { FileRule } from '../../os/landlock.ts';
import type { Abilities } from './isolation.ts';

/** The launcher's first line, when it has tried what it can. */
export type Report = Abilities;

/** The launcher's last line, if it stays: the agent and all that it started have ended. */
export const nothingLeft = 'nothing left';

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
