/** The starter that `ostiary config example` prints: loads as it is, and says what to change. */
import { schemaFile } from './shape.ts';

export function exampleConfig(): string {
  return `# yaml-language-server: $schema=${schemaFile}
#
# Configuration of ostiary. It names secrets and never holds them.
# Check it with: ostiary config check
version: 1

# MCP servers. Each alone receives its secrets.
upstreams:
  notion:
    command: node                     # absolute path, or node for the Node that runs ostiary
    args: [/opt/notion-mcp-server/bin/cli.mjs]
    env:                              # literal values, no secrets
      LOG_LEVEL: warn
    secrets:                          # variable: where its value comes from
      NOTION_TOKEN: vault:notion      # ostiary secret set notion
    # start_timeout: 60s
    # call_timeout: 10m
    # tool_timeouts: { "API-export-*": 30m }
  # linear:                           # or a server behind a URL
  #   url: https://mcp.linear.app/mcp
  #   bearer: vault:linear            # sent as "Authorization: Bearer …"

# Programs that print a secret, for references such as command:gh
# helpers:
#   gh:
#     command: [/usr/bin/gh, auth, token]

# What agents may use: deny beats allow, and what no rule allows is denied.
profiles:
  default:
    rules:
      - allow: notion
        tools: ["API-get-*", "API-post-search"]
      - deny: "*"
        tools: ["*delete*"]

# Further environment variables that "ostiary run" hands to the agent.
# agent:
#   env: [ANTHROPIC_API_KEY]
`;
}
