/** Which upstream a task belongs to, as its results told. Who named an id first keeps it, whatever others claim (F2). */
import { limits } from '../../limits.ts';

export class TaskOwners {
  readonly #tasks = new Map<string, Set<string>>();

  /** @returns the upstream, if the id is known */
  of(task: unknown): string | undefined {
    if (typeof task !== 'string') return undefined;
    for (const [upstream, tasks] of this.#tasks) if (tasks.has(task)) return upstream;
    return undefined;
  }

  learn(upstream: string, task: string): void {
    if (this.of(task) !== undefined) return;
    const tasks = this.#tasks.get(upstream) ?? new Set();
    this.#tasks.set(upstream, tasks.add(task));
    const [oldest] = tasks;
    if (tasks.size > limits.tasksPerUpstream && oldest !== undefined) tasks.delete(oldest);
  }
}
