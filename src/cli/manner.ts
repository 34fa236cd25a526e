import type { Placement } from '../config/credentials.ts';

/** How a secret is where it goes, as the end of `VARIABLE from REFERENCE`. */
export const manner: Readonly<Record<Placement['as'], string>> = {
  value: '',
  template: ', in a template',
  bearer: ', as Bearer',
  basic: ', as the password of Basic',
  'basic-user': ', as the user name of Basic',
  file: ', in a file',
  descriptor: ', from a descriptor',
};
