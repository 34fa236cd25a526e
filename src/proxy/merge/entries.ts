/** The entries of an upstream's lists: cut out of its pages, shown under names that are unique among all upstreams. */
import { elements, members, skipSpace } from '../../json.ts';
import { showNames, uriPrefix } from './names.ts';
import { type Edit, locate, prefixed, splice, stringBelow } from './splice.ts';

export type ListMethod =
  | 'tools/list'
  | 'prompts/list'
  | 'resources/list'
  | 'resources/templates/list'
  | 'tasks/list';

export interface ListShape {
  /** What holds the entries in the result. */
  readonly member: string;
  /** What tells an entry from others. */
  readonly key: string;
  /** What an upstream that has such a list declares. */
  readonly capability: readonly string[];
  /** The notification that it has changed; `null` when there is none: then it is asked for each time. */
  readonly changed: string | null;
}

export const listShapes: Readonly<Record<ListMethod, ListShape>> = {
  'tools/list': {
    member: 'tools',
    key: 'name',
    capability: ['tools'],
    changed: 'notifications/tools/list_changed',
  },
  'prompts/list': {
    member: 'prompts',
    key: 'name',
    capability: ['prompts'],
    changed: 'notifications/prompts/list_changed',
  },
  'resources/list': {
    member: 'resources',
    key: 'uri',
    capability: ['resources'],
    changed: 'notifications/resources/list_changed',
  },
  'resources/templates/list': {
    member: 'resourceTemplates',
    key: 'uriTemplate',
    capability: ['resources'],
    changed: 'notifications/resources/list_changed',
  },
  'tasks/list': { member: 'tasks', key: 'taskId', capability: ['tasks', 'list'], changed: null },
};

export const listMethods = Object.keys(listShapes) as readonly ListMethod[];

export function isListMethod(method: string): method is ListMethod {
  return Object.hasOwn(listShapes, method);
}

/** The lists that a notification of an upstream says to be out of date. */
export function listsChangedBy(notification: string): ListMethod[] {
  return listMethods.filter((method) => listShapes[method].changed === notification);
}

export interface Entry {
  readonly id: string;
  /** The upstream's own bytes. */
  readonly bytes: Buffer;
}

export interface Page {
  readonly entries: readonly Entry[];
  readonly cursor: string | undefined;
}

function fold(key: string): string {
  return key.toUpperCase().toLowerCase();
}

/**
 * The entries of one answer; `null` when it holds no list. An entry that a lax parser would read under another name than
 * we do is left out: it could pass for an entry of another upstream (F2).
 */
export function readPage(bytes: Buffer, method: ListMethod): Page | null {
  const { member, key } = listShapes[method];
  const list = locate(bytes, ['result', member]);
  const spans = list === undefined ? null : elements(bytes, list);
  if (spans === null) return null;
  const entries: Entry[] = [];
  for (const { start, end } of spans) {
    const object = members(bytes, start);
    const id = stringBelow(bytes, [key], start);
    if (object === null || object.repeats || id === undefined) continue;
    if ([...object.values.keys()].some((other) => other !== key && fold(other) === fold(key))) continue;
    entries.push({ id, bytes: bytes.subarray(start, end) });
  }
  return { entries, cursor: stringBelow(bytes, ['result', 'nextCursor']) };
}

/** What the client is shown of one upstream's list. */
export interface Shown {
  readonly entries: readonly Buffer[];
  /** Shown name → original, where one has to be looked up. */
  readonly names: ReadonlyMap<string, string>;
}

export const nothingShown: Shown = { entries: [], names: new Map() };

const upstreamKey = 'io.ostiary/upstream';
const nameKey = 'io.ostiary/name';

/** Where the originals go; whatever an upstream claims under these keys is replaced. */
function metaEdits(bytes: Buffer, originals: Readonly<Record<string, string>>): Edit[] {
  const entry = members(bytes, 0);
  const span = entry?.values.get('_meta');
  const meta = span === undefined ? null : members(bytes, span.start);
  const pair = ([key, value]: [string, string]): string => `${JSON.stringify(key)}:${JSON.stringify(value)}`;
  const wanted = Object.entries(originals);
  if (entry === null) return [];
  // What is no object cannot take a key, and is no business of ours.
  if (span !== undefined && meta === null) return [];
  if (meta === null) {
    const at = entry.end - 1;
    const comma = entry.values.size === 0 ? '' : ',';
    return [{ start: at, end: at, text: `${comma}"_meta":{${wanted.map(pair).join(',')}}` }];
  }
  const edits: Edit[] = [];
  const added: string[] = [];
  for (const one of wanted) {
    const claimed = meta.values.get(one[0]);
    if (claimed === undefined) added.push(pair(one));
    else edits.push({ ...claimed, text: JSON.stringify(one[1]) });
  }
  const at = meta.end - 1;
  const comma = meta.values.size === 0 ? '' : ',';
  if (added.length > 0) edits.push({ start: at, end: at, text: comma + added.join(',') });
  return edits;
}

/** Everything else of an entry stays byte for byte. */
export function show(upstream: string, method: ListMethod, entries: readonly Entry[]): Shown {
  const { key } = listShapes[method];
  // Of two entries with one name the first counts, as it would for whoever searches the list.
  const distinct = new Map([...entries].reverse().map((entry) => [entry.id, entry]));
  const unique = entries.filter((entry) => distinct.get(entry.id) === entry);
  if (method === 'tasks/list')
    return { entries: unique.map(({ bytes }) => bytes), names: new Map(unique.map(({ id }) => [id, id])) };
  const shownAs = key === 'name' ? showNames(upstream, distinct.keys()) : null;
  const names = new Map<string, string>();
  const shown: Buffer[] = [];
  for (const { id, bytes } of unique) {
    const span = locate(bytes, [key], skipSpace(bytes, 0));
    if (span === undefined) continue;
    if (shownAs === null) {
      const edits = prefixed(bytes, span, uriPrefix(upstream));
      shown.push(splice(bytes, [...edits, ...metaEdits(bytes, { [upstreamKey]: upstream })]));
      continue;
    }
    const name = shownAs.get(id);
    if (name === undefined) continue;
    names.set(name, id);
    const originals = { [upstreamKey]: upstream, [nameKey]: id };
    shown.push(splice(bytes, [{ ...span, text: JSON.stringify(name) }, ...metaEdits(bytes, originals)]));
  }
  return { entries: shown, names };
}

const comma = Buffer.from(',');

/** One list of many, as the `result` of a response. */
export function joinEntries(method: ListMethod, lists: Iterable<Shown>): Buffer {
  const parts: Buffer[] = [Buffer.from(`{${JSON.stringify(listShapes[method].member)}:[`)];
  for (const [index, entry] of [...lists].flatMap(({ entries }) => entries).entries()) {
    if (index > 0) parts.push(comma);
    parts.push(entry);
  }
  parts.push(Buffer.from(']}'));
  return Buffer.concat(parts);
}
