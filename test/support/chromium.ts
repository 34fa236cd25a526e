/** A real browser: Debian's Chromium without a window, driven over its debugging pipe (Chrome DevTools Protocol). */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import type { TestContext } from 'node:test';

/** `null` where it is not installed: `apt-get install chromium`. */
export const chromium: string | null = ['/usr/bin/chromium'].find((file) => existsSync(file)) ?? null;

const flags = [
  ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
  ...[
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--remote-debugging-pipe',
  ],
];

interface Said {
  readonly id?: number;
  readonly method?: string;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly message: string };
}

/** One page, and what is in it. */
export class Chromium {
  readonly #input: Writable;
  readonly #waiting = new Map<number, (said: Said) => void>();
  readonly #loads: (() => void)[] = [];
  #loaded = 0;
  #next = 1;
  #session: string | undefined;

  private constructor(input: Writable, output: Readable) {
    this.#input = input;
    let rest = '';
    output.setEncoding('utf8').on('data', (chunk: string) => {
      const parts = (rest + chunk).split('\0');
      rest = parts.pop() ?? '';
      for (const part of parts) this.#hear(JSON.parse(part) as Said);
    });
  }

  static async start(t: TestContext, program: string): Promise<Chromium> {
    const profile = mkdtempSync(join(tmpdir(), 'ostiary-chromium-'));
    const child = spawn(program, [...flags, `--user-data-dir=${profile}`], {
      env: { HOME: profile, PATH: '/usr/bin:/bin' },
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
      detached: true,
    });
    const gone = new Promise((resolve) => child.on('close', resolve));
    t.after(async () => {
      // Its helpers too.
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL');
      await gone;
      rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
    });
    const browser = new Chromium(child.stdio[3] as Writable, child.stdio[4] as Readable);
    const { targetId } = await browser.#ask('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await browser.#ask('Target.attachToTarget', { targetId, flatten: true });
    browser.#session = String(sessionId);
    await browser.#ask('Page.enable', {});
    return browser;
  }

  async open(url: string): Promise<void> {
    await this.#whileLoading(() => this.#ask('Page.navigate', { url }));
  }

  /** The value of an expression in the page. */
  async evaluate<T>(expression: string): Promise<T> {
    const { result } = await this.#ask('Runtime.evaluate', { expression, returnByValue: true });
    return (result as { value: T }).value;
  }

  /** Fills in and sends the form of the page as its user would; `false` when there is none. */
  async submit(value: string): Promise<boolean> {
    if (!(await this.evaluate<boolean>('document.forms.length > 0'))) return false;
    await this.#whileLoading(() =>
      this.evaluate(`for (const input of document.forms[0].querySelectorAll('input'))
        if (input.value === '') input.value = ${JSON.stringify(value)};
        document.forms[0].submit()`),
    );
    return true;
  }

  async #whileLoading(work: () => Promise<unknown>): Promise<void> {
    const before = this.#loaded;
    await work();
    if (this.#loaded === before) await new Promise<void>((resolve) => this.#loads.push(resolve));
  }

  #hear(said: Said): void {
    if (said.id !== undefined) this.#waiting.get(said.id)?.(said);
    if (said.method !== 'Page.loadEventFired') return;
    this.#loaded++;
    for (const resolve of this.#loads.splice(0)) resolve();
  }

  #ask(method: string, params: object): Promise<Record<string, unknown>> {
    const id = this.#next++;
    const session = this.#session === undefined ? {} : { sessionId: this.#session };
    this.#input.write(`${JSON.stringify({ id, method, params, ...session })}\0`);
    return new Promise((resolve, reject) =>
      this.#waiting.set(id, ({ result, error }) =>
        error === undefined ? resolve(result ?? {}) : reject(new Error(`${method}: ${error.message}`)),
      ),
    );
  }
}
