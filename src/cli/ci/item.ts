/** What an agent is given, or could read: the texts that are compared with every secret before it is started. */
import type { Text } from '../../proxy/frames.ts';

export interface Item extends Text {
  /** As a person knows it: `argument 2`, a path. */
  readonly place: string;
  /** What each line of the text is, where that is a place of its own. */
  readonly lines?: readonly string[];
  /** What to do when a secret is in it. */
  readonly hint: string;
}

/** A secret, or another credential, where the agent could read it. */
export interface Finding {
  readonly place: string;
  readonly label: string;
  readonly hint: string;
}

/** What was not looked at: how many of each kind, and some of them by name. */
export class Skipped {
  readonly #kinds = new Map<string, { count: number; readonly examples: string[] }>();

  add(kind: string, example?: string): void {
    const known = this.#kinds.get(kind) ?? { count: 0, examples: [] };
    this.#kinds.set(kind, known);
    known.count++;
    if (example !== undefined && known.examples.length < 3) known.examples.push(example);
  }

  counts(): Record<string, number> {
    return Object.fromEntries([...this.#kinds].map(([kind, { count }]) => [kind, count]));
  }

  describe(): string {
    return [...this.#kinds]
      .map(([kind, { count, examples }]) => {
        const more = count > examples.length && examples.length > 0 ? ', …' : '';
        return `${count} ${kind}${examples.length === 0 ? '' : ` (${examples.join(', ')}${more})`}`;
      })
      .join('; ');
  }
}
