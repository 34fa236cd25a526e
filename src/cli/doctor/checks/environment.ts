/** What in the caller's environment looks like a secret: every program that this shell starts is given it. */
import { soundsSecret } from '../../../config/http.ts';
import { tokenShape } from '../../../config/token-shapes.ts';
import type { Check } from '../check.ts';
import { fine, problem } from '../finding.ts';

/** A path, a number, a word: nothing that somebody would have to guess. */
function isHarmless(value: string): boolean {
  return value.length < 8 || /^[/~.]/.test(value) || /^[a-z]+$/i.test(value) || /^[\d.:]+$/.test(value);
}

export function looksSecret(name: string, value: string): boolean {
  if (tokenShape(value) !== null) return true;
  const says = soundsSecret(name) && !/(?:_FILE|_PATH|_DIR|_URL|_FD|_SOCK)$/i.test(name);
  return says && !isHarmless(value);
}

export const environment: Check = {
  group: 'agents',
  title: 'the environment',
  run: ({ env }) => {
    const names = Object.entries(env)
      .filter(([name, value]) => value !== undefined && looksSecret(name, value))
      .map(([name]) => name);
    if (names.length === 0) return [fine('environment.ok', 'nothing in it looks like a secret')];
    const [first = ''] = names;
    return [
      problem(
        'environment.secrets',
        `looks like secrets, for whatever this shell starts: ${names.sort().join(', ')}`,
        `ostiary secret set NAME keeps one; then take ${names.length === 1 ? first : 'them'} out of the files that the shell reads at its start`,
      ),
    ];
  },
};
