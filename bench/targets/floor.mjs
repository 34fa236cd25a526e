import { fileURLToPath } from 'node:url';
import { httpTarget } from '../lib/http-target.mjs';
import { UPSTREAM } from '../lib/processes.mjs';

const script = fileURLToPath(new URL('../floor.mjs', import.meta.url));

export default httpTarget({
  name: 'floor',
  argv: (port) => [process.execPath, script, String(port), process.execPath, UPSTREAM],
});
