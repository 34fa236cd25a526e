/** What a browser is shown, at the end of a login and before one: plain HTML, no script, nothing loaded, everything escaped. */

export interface Page {
  readonly status: number;
  readonly title: string;
  readonly text: readonly string[];
  /** A command, shown on a line of its own after the first paragraph. */
  readonly command?: string;
}

function escapeHtml(text: string): string {
  // What cannot be seen could make one name look like another.
  return text.replace(/\p{C}/gu, '\u{fffd}').replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}

/** Also keeps the page out of frames and caches, and its address, which held the code, out of Referer. */
export const pageHeaders: Readonly<Record<string, string>> = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy':
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
  connection: 'close',
};

export function renderPage({ title, text, command }: Page): string {
  const shown = text.map((one) => `<p>${escapeHtml(one)}</p>`);
  if (command !== undefined) shown.splice(1, 0, `<pre>${escapeHtml(command)}</pre>`);
  const paragraphs = shown.join('\n');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)}</title>
<style>
:root { color-scheme: light dark; font: 1.1em/1.5 system-ui, sans-serif }
body { max-width: 34em; margin: 15vh auto; padding: 0 1em }
pre { white-space: pre-wrap }
</style>
</head>
<body>
<main>
<h1>${escapeHtml(title)}</h1>
${paragraphs}
</main>
</body>
</html>
`;
}
