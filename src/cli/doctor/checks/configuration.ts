/** The configuration: whether it is one, and what of it will not work or protect. */
import { ConfigError, type Problem } from '../../../config/problem.ts';
import type { Config } from '../../../config/types.ts';
import { configWarnings } from '../../../config/warnings.ts';
import { Failure } from '../../../errors.ts';
import type { Check } from '../check.ts';
import type { ProblemCode } from '../codes.ts';
import { type Finding, fine, problem, problemOf } from '../finding.ts';

/** Beyond it `ostiary config check` is the better list. */
const PROBLEMS_SHOWN = 20;

/** The message of a problem → its code. */
const problemCodes: readonly (readonly [RegExp, ProblemCode])[] = [
  [/^expected no secret, |credential reference; |placeholder of a secret/, 'config.plain-secret'],
  [/^expected (?:command|oauth): and /, 'config.unknown-reference'],
];

/** The beginning of a warning → its code, and what to do. */
const warningCodes: readonly (readonly [RegExp, ProblemCode, string])[] = [
  [/^upstreams: none/, 'config.no-upstreams', 'ostiary config example shows one'],
  [
    /^profiles: none/,
    'config.no-policy',
    'write profiles, with the tools that agents need: docs/configuration.md',
  ],
  [/^profiles: no default/, 'config.no-default-profile', 'name one default, or say --profile NAME each time'],
  [/^helpers\.[^:]+: no upstream/, 'config.unused-helper', 'remove it, or name it as command:HELPER'],
  [
    /^helpers\.[^:]+\.command/,
    'config.helper-refused',
    'mend its path, owner or mode: no upstream is given its secret',
  ],
  [
    /^upstreams\.[^:]+: file (?:does not exist|is not executable|is not a file)/,
    'config.program-missing',
    'install it, or write its absolute path',
  ],
  [/^upstreams\.[^:]+: file /, 'config.program-replaceable', 'install it where only you and root can write'],
  [
    /^upstreams\.[^:]+: (?:sounds|a parameter sounds) like a secret/,
    'config.secret-literal',
    'ostiary secret set NAME, and name it under secrets',
  ],
];

function ofProblem({ place, message }: Problem): Finding {
  const code = problemCodes.find(([words]) => words.test(message))?.[1] ?? 'config.invalid';
  const where = place.line === undefined ? place.file : `+${place.line} ${place.file}`;
  const next =
    code === 'config.plain-secret'
      ? 'ostiary secret set NAME, and write vault:NAME under secrets'
      : `$EDITOR ${where}`;
  return problem(code, message, next, place);
}

function unreadable(failure: Failure): Finding[] {
  if (!(failure instanceof ConfigError)) {
    if (failure.place === undefined) return [problemOf('config.invalid', failure, 'ostiary config path')];
    const absent = failure.message === 'file does not exist';
    return [problemOf(absent ? 'config.absent' : 'config.untrusted', failure, 'ostiary config path')];
  }
  const shown = failure.problems.slice(0, PROBLEMS_SHOWN).map(ofProblem);
  const more = failure.problems.length - shown.length;
  return more === 0
    ? shown
    : [...shown, problem('config.invalid', `${more} more problems`, 'ostiary config check')];
}

function ofWarning(file: string | null, text: string): Finding {
  const [, code, next] = warningCodes.find(([words]) => words.test(text)) ?? [];
  return problem(
    code ?? 'config.warning',
    text,
    next ?? 'ostiary config check',
    file === null ? null : { file },
  );
}

function readable(config: Config): Finding[] {
  if (config.file === null)
    return [
      problem(
        'config.absent',
        'there is no configuration file',
        'ostiary config example prints a starter; ostiary config path says where it goes',
      ),
    ];
  const found = configWarnings(config).map((text) => ofWarning(config.file, text));
  const failed = found.some(({ level }) => level === 'fail');
  const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? '' : 's'}`;
  const { upstreams, profiles } = config;
  return failed
    ? found
    : [
        fine(
          'config.ok',
          `${config.file}: ${count(upstreams.size, 'upstream')}, ${count(profiles.size, 'profile')}`,
        ),
        ...found,
      ];
}

export const configuration: Check = {
  group: 'configuration',
  title: 'the configuration',
  run: ({ config }) => (config instanceof Failure ? unreadable(config) : readable(config)),
};
