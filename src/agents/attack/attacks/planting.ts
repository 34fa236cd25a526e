/** A14: leaving something that a trusted program obeys later; moving the state away to put another one there. */
import { appendFileSync, chmodSync, mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Attack, World } from '../attack.ts';
import { attempt, denied, type Yield } from '../attempt.ts';
import type { Attempt, Places } from '../brief.ts';

/** A program that says, by a file in `directory`, that it was run. */
function shellPlant(directory: string, name: string): string {
  return `#!/bin/sh\n: > '${join(directory, `ran-${name}`)}'\n`;
}

function modulePlant(directory: string, name: string): string {
  return `require('node:fs').writeFileSync(${JSON.stringify(join(directory, `ran-${name}`))}, '');\n`;
}

function executable(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  chmodSync(path, 0o755);
}

/** What is planted, by the name that the trusted side knows it by. */
function plants({ home, project, config, programs }: Places): readonly [string, () => void][] {
  return [
    ['configuration', () => appendFileSync(join(config, 'config.yaml'), '\n# planted\n')],
    ['program', () => appendFileSync(join(programs, 'server.mjs'), '\n// planted\n')],
    ['.npmrc', () => appendFileSync(join(home, '.npmrc'), `\nscript-shell=${project}/shell\n`)],
    ['.bashrc', () => appendFileSync(join(home, '.bashrc'), '\n# planted\n')],
    ['PATH', () => executable(join(home, '.local', 'bin', 'planted'), shellPlant(project, 'planted'))],
  ];
}

/** The project is the agent's own: what it leaves there must not be obeyed. */
function plantInProject(project: string): void {
  writeFileSync(
    join(project, '.npmrc'),
    `script-shell=${project}/shell\nnode-options=--require=${project}/plant.cjs\n`,
  );
  executable(join(project, 'shell'), shellPlant(project, 'npm'));
  executable(join(project, 'node'), shellPlant(project, 'node'));
  writeFileSync(join(project, 'plant.cjs'), modulePlant(project, 'options'));
  for (const name of ['commander', 'koffi', 'yaml']) {
    const directory = join(project, 'node_modules', name);
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, 'package.json'), JSON.stringify({ name, main: 'index.js' }));
    writeFileSync(join(directory, 'index.js'), modulePlant(project, 'module'));
  }
  writeFileSync(join(project, 'ostiary.yaml'), 'version: 1\n');
  writeFileSync(join(project, '.env'), `NODE_OPTIONS=--require=${project}/plant.cjs\n`);
}

/** The directories above the state, up to the home. */
function ancestors({ home, state }: Places): string[] {
  const all: string[] = [];
  for (let path = dirname(state); path.startsWith(`${home}/`); path = dirname(path)) all.push(path);
  return all;
}

/** Tries each and asks what has come of it outside. @returns the refusal of each that was refused */
function tryAll(acts: readonly (readonly [string, () => void])[]): Map<string, string> {
  const refused = new Map<string, string>();
  for (const [name, act] of acts)
    try {
      act();
    } catch (error) {
      refused.set(name, (error as NodeJS.ErrnoException).code ?? String(error));
    }
  return refused;
}

async function plantAll({ brief: { places }, ask }: World): Promise<Attempt[]> {
  const acts = plants(places);
  const refused = tryAll(acts);
  const { changed } = await ask('inspect');
  return acts.map(([name]) => replaced(name, refused.get(name), changed));
}

/** Another state could be put in the place of one that has been moved. */
async function moveAncestors({ brief: { places }, ask }: World): Promise<Attempt> {
  const name = 'ancestor of the state';
  const moved: string[] = [];
  const refused = tryAll(
    ancestors(places).map((path) => [
      name,
      () => {
        renameSync(path, `${path}.moved`);
        moved.push(path);
      },
    ]),
  );
  const { changed } = await ask('inspect');
  for (const path of moved.reverse()) renameSync(`${path}.moved`, path);
  return replaced(name, refused.get(name), changed);
}

function replaced(name: string, refused: string | undefined, changed: readonly string[]): Attempt {
  const what = `${name} replaced`;
  if (changed.includes(name)) return { what, outcome: 'leak', why: 'changed outside', sightings: [] };
  return denied(what, refused ?? 'changed in a copy that only this sandbox has');
}

async function plant(world: World): Promise<readonly Attempt[]> {
  const { places } = world.brief;
  const attempts = [...(await plantAll(world)), await moveAncestors(world)];
  const obeyed = await attempt(
    '.npmrc, node_modules and programs in the project',
    async (): Promise<Yield> => {
      plantInProject(places.project);
      const { ran } = await world.ask('use');
      if (readdirSync(places.project).length === 0) throw new Error('nothing could be planted');
      return ran.length > 0
        ? { opened: `obeyed: ${ran.join(', ')}` }
        : { refused: 'planted, and not obeyed' };
    },
  );
  return [...attempts, obeyed];
}

export const planting: readonly Attack[] = [{ number: 'A14', name: 'planting', alone: true, run: plant }];
