/** Which isolation level `ostiary run` would have here. What each level promises: SECURITY.md. */
import type { Isolation } from '../agents/sandbox/isolation.ts';
import { openSandbox } from '../agents/sandbox/sandbox.ts';
import { Failure } from '../errors.ts';

/** In one line, found by trying; a refusal of `run` is one too. */
export async function levelOf(wish: Isolation): Promise<string> {
  try {
    const sandbox = await openSandbox(wish);
    sandbox.close();
    return sandbox.level;
  } catch (error) {
    if (error instanceof Failure) return `ostiary run refuses: ${error.message}`;
    throw error;
  }
}
