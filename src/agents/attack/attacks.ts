/** Every attack of the kit, in the order in which they are made: those that disturb nobody first. */
import type { Attack } from './attack.ts';
import { crashes } from './attacks/crashes.ts';
import { environments } from './attacks/environments.ts';
import { files } from './attacks/files.ts';
import { inspector } from './attacks/inspector.ts';
import { memory } from './attacks/memory.ts';
import { neighbours } from './attacks/neighbours.ts';
import { ownCommands } from './attacks/ostiary.ts';
import { planting } from './attacks/planting.ts';
import { sandbox } from './attacks/sandbox.ts';
import { stores } from './attacks/stores.ts';

const all: readonly Attack[] = [
  ...environments,
  ...memory,
  ...files,
  ...stores,
  ...neighbours,
  ...ownCommands,
  ...inspector,
  ...crashes,
  ...sandbox,
  ...planting,
];

export const attacks: readonly Attack[] = [
  ...all.filter(({ alone }) => alone !== true),
  ...all.filter(({ alone }) => alone === true),
];

export function attackNamed(id: string): Attack | undefined {
  return attacks.find(({ number, name }) => `${number} ${name}` === id);
}
