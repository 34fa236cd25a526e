/** URIs in what an upstream says, prefixed with its name: what a client was shown, it can read. */
import { elements, members, type Span } from '../../json.ts';
import { uriPrefix } from './names.ts';
import { type Edit, locate, prefixed, splice, stringBelow } from './splice.ts';

/** A content block: a resource link names a URI itself, an embedded resource in its `resource`. */
function inBlock(bytes: Buffer, block: Span, prefix: string): Edit[] {
  switch (stringBelow(bytes, ['type'], block.start)) {
    case 'resource_link':
      return prefixed(bytes, locate(bytes, ['uri'], block.start), prefix);
    case 'resource':
      return prefixed(bytes, locate(bytes, ['resource', 'uri'], block.start), prefix);
    default:
      return [];
  }
}

/** `content` is one block in prompts, and an array of them in results of tools. */
function inContent(bytes: Buffer, holder: Span, prefix: string): Edit[] {
  const content = members(bytes, holder.start)?.values.get('content');
  if (content === undefined) return [];
  const blocks = elements(bytes, content) ?? [content];
  return blocks.flatMap((block) => inBlock(bytes, block, prefix));
}

function edits(bytes: Buffer, method: string, prefix: string): Edit[] {
  const result = locate(bytes, ['result']);
  if (result === undefined) return [];
  const each = (key: string): Span[] => {
    const list = locate(bytes, [key], result.start);
    return (list === undefined ? null : elements(bytes, list)) ?? [];
  };
  switch (method) {
    case 'tools/call':
    case 'tasks/result':
      return inContent(bytes, result, prefix);
    case 'prompts/get':
      return each('messages').flatMap((message) => inContent(bytes, message, prefix));
    case 'resources/read':
      return each('contents').flatMap((one) => prefixed(bytes, locate(bytes, ['uri'], one.start), prefix));
    default:
      return [];
  }
}

/** The answer to a request of this method, as the client may see it; the same buffer when no URI is in it. */
export function showUris(bytes: Buffer, method: string, upstream: string): Buffer {
  return splice(bytes, edits(bytes, method, uriPrefix(upstream)));
}
