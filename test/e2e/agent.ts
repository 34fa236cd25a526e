/** `ostiary run -- AGENT` with an agent that a test drives; see agents/driven.ts. */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { finished, type Home, type Options, type Result } from './home.ts';

const script = fileURLToPath(new URL('./agents/driven.js', import.meta.url));

export interface AgentError {
  readonly code?: number;
  readonly message: string;
  readonly data?: { readonly ostiary?: string };
}

export interface View {
  readonly pid: number;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Path and text of mcp-config.json. */
  readonly config: string;
  readonly text: string;
}

export interface ToolResult {
  readonly isError?: boolean;
  readonly content: readonly { readonly type: string; readonly text?: string }[];
}

type Answer = { readonly id: number; readonly result?: unknown; readonly error?: AgentError };

/** What an agent got instead of a result. */
export class Refused extends Error {
  readonly error: AgentError;

  constructor(error: AgentError) {
    super(error.message);
    this.error = error;
  }
}

export function textOf(result: ToolResult): string {
  return result.content.map(({ text }) => text ?? '').join('');
}

export class DrivenAgent {
  /** The process of `ostiary run`. */
  readonly run: ChildProcess;
  /** How `ostiary run` ended. */
  readonly ended: Promise<Result>;
  /** Everything that the agent has printed. */
  printed = '';
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #next = 1;
  #over = false;

  private constructor(run: ChildProcess) {
    this.run = run;
    this.ended = finished(run);
    run.stdin?.on('error', () => {});
    if (run.stdout === null) throw new Error('run has no standard output');
    createInterface({ input: run.stdout }).on('line', (line) => {
      this.printed += `${line}\n`;
      const answer = JSON.parse(line) as Answer;
      this.#waiting.get(answer.id)?.(answer);
    });
    void this.ended.then(({ stderr }) => {
      this.#over = true;
      for (const [id, settle] of this.#waiting)
        settle({ id, error: { message: `ostiary run has ended: ${stderr}` } });
    });
  }

  static start(home: Home, flags: readonly string[] = [], options: Options = {}): DrivenAgent {
    return new DrivenAgent(home.start(['run', ...flags, '--', process.execPath, script], options));
  }

  /** @throws {Refused} */
  async #ask<T>(order: object): Promise<T> {
    const id = this.#next++;
    if (this.#over) throw new Error('ostiary run has ended');
    const answered = new Promise<Answer>((resolve) => this.#waiting.set(id, resolve));
    this.run.stdin?.write(`${JSON.stringify({ id, ...order })}\n`);
    const { result, error } = await answered;
    this.#waiting.delete(id);
    if (error !== undefined) throw new Refused(error);
    return result as T;
  }

  view(): Promise<View> {
    return this.#ask({ do: 'view' });
  }

  /** Connects to a server of the configuration; the shim's pid, if there is one. */
  open(server: string): Promise<{ shim: number | null; serverInfo: { name: string } }> {
    return this.#ask({ do: 'open', server });
  }

  list(server: string): Promise<{ name: string }[]> {
    return this.#ask({ do: 'list', server });
  }

  call(server: string, tool: string, args: object = {}): Promise<ToolResult> {
    return this.#ask({ do: 'call', server, tool, args });
  }

  close(server: string): Promise<void> {
    return this.#ask({ do: 'close', server });
  }

  /** Ends the agent; how `ostiary run` ended. */
  exit(code = 0): Promise<Result> {
    this.#ask({ do: 'exit', code }).catch(() => {});
    return this.ended;
  }
}
