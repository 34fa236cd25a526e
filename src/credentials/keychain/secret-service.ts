/** What can be asked of the Secret Service without it asking the user (Secret Service API 0.2). */
import { Bus, BusError } from './bus.ts';
import type { BusAddress } from './bus-address.ts';
import type { Call, Reader } from './bus-message.ts';
import type { KeychainItem } from './item.ts';
import type { Problem } from './problem.ts';

const SERVICE = 'org.freedesktop.Secret.Service';

function toService(member: string, ...args: Call['arguments']): Call {
  return {
    destination: 'org.freedesktop.secrets',
    path: '/org/freedesktop/secrets',
    interface: SERVICE,
    member,
    arguments: args,
  };
}

/** Whether items with these attributes exist, and are all locked. */
function readSearch(body: Reader): 'none' | 'unlocked' | 'locked' {
  if (body.texts().length > 0) return 'unlocked';
  return body.texts().length > 0 ? 'locked' : 'none';
}

/** Of the collection that new items go into. */
async function defaultCollection(bus: Bus): Promise<'none' | 'unlocked' | 'locked'> {
  const collection = (await bus.call(toService('ReadAlias', ['s', 'default']))).text();
  if (collection === '/') return 'none';
  const property = await bus.call({
    ...toService('Get', ['s', 'org.freedesktop.Secret.Collection'], ['s', 'Locked']),
    path: collection,
    interface: 'org.freedesktop.DBus.Properties',
  });
  return property.boolean() ? 'locked' : 'unlocked';
}

/**
 * Whether `item` can be read (`write`: written) without a prompt. `hidden`: it is not to be seen, but some stores show
 * nothing of what they hold while they are locked, and this one is. The attributes are those that the package gives and
 * looks for.
 * @throws {BusError | Error} as {@link busProblem} sorts them
 */
export async function accessTo(
  item: KeychainItem,
  write: boolean,
  address: BusAddress,
): Promise<'open' | 'locked' | 'hidden'> {
  const bus = await Bus.connect(address);
  try {
    const attributes = { service: item.service, username: item.account };
    const found = readSearch(await bus.call(toService('SearchItems', ['a{ss}', attributes])));
    if (found !== 'none') return found === 'locked' ? 'locked' : 'open';
    const collection = await defaultCollection(bus);
    // Making a first collection asks for its passphrase, as unlocking does.
    if (write) return collection === 'unlocked' ? 'open' : 'locked';
    return collection === 'locked' ? 'hidden' : 'open';
  } finally {
    bus.close();
  }
}

/** What a failed {@link accessTo} means. */
export function busProblem(error: unknown): Problem {
  if (!(error instanceof BusError)) {
    const code = (error as NodeJS.ErrnoException).code;
    if (error instanceof RangeError || code === undefined) return { reason: 'failed' };
    return { reason: 'no-bus', detail: code };
  }
  if (error.foreign) return { reason: 'foreign-bus' };
  const name = error.errorName;
  if (name === null) return { reason: 'no-bus' };
  // Also what activation says when the service is not installed, or ended at its start.
  if (
    /^org\.freedesktop\.DBus\.Error\.(?:ServiceUnknown|NameHasNoOwner|Spawn\..*|NoReply|TimedOut|Unix.*)$/.test(
      name,
    )
  )
    return { reason: 'no-service', detail: name };
  return { reason: 'failed', detail: name };
}
