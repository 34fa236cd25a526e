/** What protects the children of an upstream against other processes of their own user. */

/** How much of it the configuration asks for: `process` is all but the namespace. */
export type Hardening = 'full' | 'process' | 'off';

export interface Measure {
  readonly measure: 'unreadable' | 'inspector' | 'namespace' | 'no new privileges';
  readonly inForce: boolean;
  /** Why it is not in force, or what it does not cover. */
  readonly detail?: string;
}

export function inForce(measure: Measure['measure'], detail?: string): Measure {
  return detail === undefined ? { measure, inForce: true } : { measure, inForce: true, detail };
}

export function notInForce(measure: Measure['measure'], detail: string): Measure {
  return { measure, inForce: false, detail };
}
