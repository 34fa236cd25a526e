import { programFile } from '../paths.ts';

/** Absolute path of our entry point, for the commands that start another of us. */
export const mainFile: string = programFile('main.cjs');
