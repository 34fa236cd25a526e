/** What a helper is told, format by format: on standard input, then its end, or in its environment. Nothing secret. */
import type { HelperAsk } from './helper-format.ts';

export interface HelperInput {
  /** `null`: standard input is empty. */
  readonly stdin: string | null;
  readonly env: Readonly<Record<string, string>>;
}

/** https://git-scm.com/docs/git-credential#IOFMT: git decodes what it takes from a URL, so we do. */
function describeUrl(text: string): string {
  const url = new URL(text);
  const attributes: readonly (readonly [string, string])[] = [
    ['protocol', url.protocol.slice(0, -1)],
    ['host', url.host],
    ['path', decodeURIComponent(url.pathname.slice(1))],
    ['username', decodeURIComponent(url.username)],
  ];
  // One more line would be one more attribute, and so another credential (CVE-2020-5260).
  if (attributes.some(([, value]) => /[\r\n\0]/.test(value)))
    throw new Error('a git URL passed the checks and has lines');
  const lines = attributes.filter(([, value]) => value !== '').map(([key, value]) => `${key}=${value}\n`);
  return `${lines.join('')}\n`;
}

export function helperInput(ask: HelperAsk): HelperInput {
  switch (ask.format) {
    case 'raw':
    case 'json':
    case 'aws':
      return { stdin: null, env: {} };
    case 'exec-credential': {
      const cluster = ask.server === null ? {} : { cluster: { server: ask.server } };
      const info = {
        apiVersion: 'client.authentication.k8s.io/v1',
        kind: 'ExecCredential',
        spec: { ...cluster, interactive: false },
      };
      return { stdin: null, env: { KUBERNETES_EXEC_INFO: JSON.stringify(info) } };
    }
    case 'docker':
      return { stdin: `${ask.registry}\n`, env: {} };
    case 'git':
      // Without a password to give, `git credential fill` would ask a terminal for one.
      return { stdin: describeUrl(ask.url), env: { GIT_TERMINAL_PROMPT: '0' } };
  }
}
