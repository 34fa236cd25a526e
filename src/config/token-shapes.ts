/**
 * Well-known credentials by their look, for literal text of the configuration. Each shape has a prefix that its issuer
 * made for such searches and a random tail, so that words, paths and package names do not match; what has neither (AWS
 * secret keys, passwords, UUIDs) is not guessed at. Issuers document the prefixes for their secret scanners.
 */

/** What it is → how it looks. No shape begins or ends inside a word. */
const SHAPES: Readonly<Record<string, RegExp>> = {
  'a GitHub token': /\b(?:gh[oprsu]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,})/,
  'a GitLab token': /\bgl(?:pat|dt|oas|ptt|rt|soat)-[A-Za-z0-9_-]{20,}/,
  // Of OpenAI, Anthropic and those who copied them. The digit in one long word tells it from `sk-some-long-name`.
  'an API key': /(?<![A-Za-z0-9_-])sk-(?:[a-z0-9]+-){0,3}(?=[A-Za-z_]*[0-9])[A-Za-z0-9_]{20,}/,
  'a Slack token': /\bxox[abeoprs]-[A-Za-z0-9-]{10,}|\bxapp-[0-9]-[A-Za-z0-9-]{10,}/,
  'an AWS access key': /\b(?:AKIA|ASIA)[A-Z2-7]{16}\b/,
  'a Google API key': /\bAIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])/,
  'a Stripe key': /\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}/,
  'a Notion token': /\bntn_[A-Za-z0-9]{40,}|\bsecret_[A-Za-z0-9]{43}\b/,
  'a Linear API key': /\blin_api_[A-Za-z0-9]{32,}/,
  'an npm token': /\bnpm_[A-Za-z0-9]{36}\b/,
  'a Hugging Face token': /\bhf_[A-Za-z0-9]{30,}/,
  'a Vault token': /\bhv[brs]\.[A-Za-z0-9_-]{24,}/,
  'a JSON Web Token': /\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*/,
  'a private key': /-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----|\bAGE-SECRET-KEY-1[A-Z0-9]{50,}/,
};

/** What credential `text` seems to contain, as a phrase; `null` for none. */
export function tokenShape(text: string): string | null {
  return Object.entries(SHAPES).find(([, shape]) => shape.test(text))?.[0] ?? null;
}
