/** D5: people paste secrets into the wrong line. No error may repeat one, whatever else is wrong with the file. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { inspect } from 'node:util';
import { parseConfig } from '../../src/config/load.ts';
import { ConfigError, formatProblems } from '../../src/config/problem.ts';

/** Shaped like tokens that people have; the short ones are passwords. */
const canaries = [
  'ghp_CANARYabcdefghijklmnopqrstuvwxyz0123',
  'sk-ant-CANARY-abcdefghijklmnopqrstuvwxyz-0123456789',
  'CANARY0123456789ABCDEF0123456789',
  'CANARYhunter2',
  'canary_hunter2',
];

/** `@` is where the secret was pasted; each file has to be refused. */
const slips: Readonly<Record<string, string>> = {
  'under secrets': 'upstreams: {n: {command: node, secrets: {T: @}}}',
  'under secrets, quoted and cut': 'upstreams: {n: {command: node, secrets: {T: "@}}}',
  'under secrets, with a colon': 'upstreams: {n: {command: node, secrets: {T: "x:@"}}}',
  'under secrets, with a known source': 'upstreams: {n: {command: node, secrets: {T: "keychain:@"}}}',
  'as a name that cannot be': 'upstreams: {n: {command: node, secrets: {T: "vault:@/@"}}}',
  'as a helper': 'upstreams: {n: {command: node, secrets: {T: command:@}}}',
  'as a relative file': 'upstreams: {n: {command: node, secrets: {T: file:@}}}',
  'under secrets, twice': 'upstreams: {n: {command: node, secrets: {T: @, T: @}}}',
  'under secrets, nested': 'upstreams: {n: {command: node, secrets: {T: {@: @, @: @}}}}',
  'as a list under secrets': 'upstreams: {n: {command: node, secrets: {T: [@]}}}',
  'as secrets': 'upstreams: {n: {command: node, secrets: @}}',
  'as a list of secrets': 'upstreams: {n: {command: node, secrets: [@]}}',
  'as a key without a value': 'upstreams: {n: {command: node, secrets: {T: vault:n, @}}}',
  'as a key without a value, twice': 'upstreams: {n: {command: node, secrets: {T: vault:n, @, @}}}',
  'after a colon too many': 'upstreams: {n: {command: node}}\nx:\n  T: vault: @',
  'as an anchor': 'upstreams: {n: {command: node, secrets: {T: &@ vault:n}}}',
  'as an alias': 'upstreams: {n: {command: node, secrets: {T: *@ }}}',
  'as a tag': 'upstreams: {n: {command: node, secrets: {T: !@ vault:n}}}',
  'with an escape': 'upstreams: {n: {command: node, secrets: {T: "\\q@"}}}',
  'in a block with tabs': 'upstreams:\n  n:\n    command: node\n    secrets:\n\t  T: @',
  'as a block scalar header': 'upstreams: {}\nx: |@\n  y',
  'in env, beside a mistake': 'upstreams: {n: {command: nod, env: {T: @, 1x: @}}}',
  'in env, nested': 'upstreams: {n: {command: node, env: {T: {a: @}}}}',
  'in env as a reference': 'upstreams: {n: {command: node, env: {T: "vault:@"}}}',
  'in args as a reference': 'upstreams: {n: {command: node, args: ["--token=vault:@"]}}',
  'in args as a map': 'upstreams: {n: {command: node, args: [{token: @}]}}',
  'in the command': 'upstreams: {n: {command: T=@ npx x}}',
  'in the command of a helper': 'helpers: {n: {command: ["T=@"]}}',
  'as the command of a helper': 'helpers: {n: {command: "echo @"}}',
  'as the format of a helper': 'helpers: {n: {command: [/bin/n], format: @}}',
  'as the registry of a helper': 'helpers: {n: {command: [/bin/n], format: docker, registry: "@ "}}',
  'in the URL of a helper': 'helpers: {n: {command: [/bin/n], format: git, url: "https://me:@@x/"}}',
  'as the server of a helper':
    'helpers: {n: {command: [/bin/n], format: exec-credential, server: "https://@ x/"}}',
  'as a field':
    'helpers: {n: {command: [/bin/n]}}\nupstreams: {n: {command: node, secrets: {T: "command:n#@"}}}',
  'as an upstream': 'upstreams: {n: @}',
  'as a URL': 'upstreams: {n: {url: "@"}}',
  'in a URL': 'upstreams: {n: {url: "https://me:@@x/"}}',
  'in a URL in clear': 'upstreams: {n: {url: "http://x/?key=@"}}',
  'as a bearer': 'upstreams: {n: {url: "https://x/", bearer: @}}',
  'as a bearer with its scheme': 'upstreams: {n: {url: "https://x/", bearer: "Bearer @"}}',
  'in a literal header': 'upstreams: {n: {url: "https://x/", headers: {Authorization: "Bearer @"}}}',
  'as a header': 'upstreams: {n: {url: "https://x/", headers: {@}}}',
  'as a header with a colon': 'upstreams: {n: {url: "https://x/", headers: {"X: @": a}}}',
  'in a header, nested': 'upstreams: {n: {url: "https://x/", headers: {X: {@: a}}}}',
  'in a header of bad text': 'upstreams: {n: {url: "https://x/", headers: {X: "@\\n"}}}',
  'in a header of an HTTP upstream as a secret': 'upstreams: {n: {url: "https://x/", secrets: {X: @}}}',
  'as a version': 'version: @',
  'among the keys of an upstream': 'upstreams: {n: {command: node, @}}',
  'among upstreams': 'upstreams: {n: {command: node}, @}',
  'at the top': '? @',
};

describe('a pasted secret', () => {
  for (const [title, slip] of Object.entries(slips))
    it(`D5 ${title} is not repeated`, () => {
      for (const canary of canaries) {
        const text = `version: 1\n${slip.replaceAll('@', canary)}\n`;
        assert.throws(
          () => parseConfig(text, 'c.yaml'),
          (error) => {
            assert(error instanceof ConfigError, String(error));
            const shown = [
              formatProblems(error),
              inspect(error, { depth: 9 }),
              JSON.stringify(error.problems),
            ].join('\n');
            assert(!shown.includes(canary), shown);
            return true;
          },
        );
      }
    });
});
