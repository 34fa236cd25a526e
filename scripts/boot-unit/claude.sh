#!/bin/sh
# Stands in for the real one: claude --strict-mcp-config --mcp-config FILE [TOOL]
OSTIARY_MCP_CONFIG=$3 exec node /boot-unit/agent.mjs "${4:-get_me}"
