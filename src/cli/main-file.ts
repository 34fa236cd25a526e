import { fileURLToPath } from 'node:url';

/** Absolute path of our entry point, for the commands that start another of us. */
export const mainFile: string = fileURLToPath(new URL('../main.js', import.meta.url));
