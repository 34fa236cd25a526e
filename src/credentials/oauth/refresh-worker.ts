/**
 * A process of its own that renews one login once, writes the answer and ends; `refresh-process.ts` says why. Its input is
 * all that it knows. It ends by itself: whoever started it may be gone.
 */
import { text } from 'node:stream/consumers';
import { limits } from '../../limits.ts';
import { harden } from '../../os/index.ts';
import { writeAnswer } from './answer-file.ts';
import { trusting } from './http.ts';
import { httpForLogin, refreshTokens } from './refresh.ts';
import type { RefreshRequest } from './refresh-process.ts';

setTimeout(() => process.exit(1), limits.tokenRefreshMs).unref();
// A service manager that ends the daemon's group asks first: what is under way ends within seconds.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => {});
try {
  if (harden().some(({ measure, inForce }) => measure === 'inspector' && !inForce))
    throw new Error('the inspector of this process is open');
  const { directory, id, key, login, caFile } = JSON.parse(await text(process.stdin)) as RefreshRequest;
  const outcome = await refreshTokens(login, httpForLogin(login, trusting(caFile)));
  await writeAnswer(directory, id, { key }, outcome);
  process.exit(0);
} catch {
  // Its words could hold a token; that there is no answer says enough.
  process.exit(1);
}
