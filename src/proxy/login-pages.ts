/** The pages that say which command to type. Each is known by an id that nobody guesses, and holds what we put there. */
import { createHmac, randomBytes } from 'node:crypto';
import { limits } from '../limits.ts';
import type { Page } from '../page.ts';

export class LoginPages {
  /** The same command has the same page, so that calls that fail together show one. */
  readonly #key = randomBytes(32);
  readonly #commands = new Map<string, string>();

  /** The id of its page. Of too many the oldest go. */
  add(command: string): string {
    const id = createHmac('sha256', this.#key).update(command).digest().subarray(0, 16).toString('base64url');
    this.#commands.delete(id);
    this.#commands.set(id, command);
    const [oldest] = this.#commands.keys();
    if (oldest !== undefined && this.#commands.size > limits.loginPages) this.#commands.delete(oldest);
    return id;
  }

  find(id: string): Page | null {
    const command = this.#commands.get(id);
    if (command === undefined) return null;
    return {
      status: 200,
      title: 'A login is needed',
      text: [
        'To let ostiary log in, type this in a terminal of your own:',
        'Do so only if you have just asked your agent for something that needs it. Then tell the agent to try again.',
        'This page does nothing by itself, and can be closed.',
      ],
      command,
    };
  }
}
