/**
 * Results that only modern clients can read. Since 2026-07-28 a tool's structured result may be any JSON value
 * ("Key Changes"); legacy clients know objects alone, and one tool of the other kind costs them the whole list.
 */
import { decodeString, elements, memberAt } from '../../json.ts';
import { applyEdits, type Edit, writeObject } from '../../json-edit.ts';

/** Any object: a narrower schema could hold references that lose their root. */
const anyObject = Buffer.from('{"type":"object"}');

function widenSchemas(bytes: Buffer): Edit[] {
  const tools = memberAt(bytes, 'result', 'tools');
  const edits: Edit[] = [];
  for (const { start, end } of tools === undefined ? [] : (elements(bytes, tools) ?? [])) {
    const tool = bytes.subarray(start, end);
    const schema = memberAt(tool, 'outputSchema');
    const type = memberAt(tool, 'outputSchema', 'type');
    if (schema === undefined || (type !== undefined && decodeString(tool, type) === 'object')) continue;
    edits.push({ start: start + schema.start, end: start + schema.end, bytes: anyObject });
  }
  return edits;
}

/** As the SDKs do it for their own legacy clients. */
function wrapContent(bytes: Buffer): Edit[] {
  const content = memberAt(bytes, 'result', 'structuredContent');
  if (content === undefined || bytes[content.start] === 0x7b /* { */) return [];
  const wrapped = writeObject(new Map([['result', bytes.subarray(content.start, content.end)]]));
  return [{ ...content, bytes: wrapped }];
}

/** The response to a request of this method, changed where a legacy client could not read it. */
export function legacyResult(method: string, bytes: Buffer): Buffer {
  let edits: Edit[] = [];
  if (method === 'tools/list' && bytes.includes('"outputSchema"')) edits = widenSchemas(bytes);
  else if (method === 'tools/call' && bytes.includes('"structuredContent"')) edits = wrapContent(bytes);
  return edits.length === 0 ? bytes : applyEdits(bytes, edits);
}
