#!/usr/bin/env node
/** Stands in for the real one: it needs its token, proves that it has it by a digest, and says where it runs. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { serve, text } from './stdio.mjs';

const { GITHUB_PERSONAL_ACCESS_TOKEN: token } = process.env;
if (token === undefined) process.exit(1);

function listed(directory) {
  try {
    return readdirSync(directory);
  } catch ({ code }) {
    return code;
  }
}

const me = () => ({
  digest: createHash('sha256').update(token).digest('hex'),
  uid: process.getuid(),
  groups: process.getgroups(),
  capabilities: /^CapEff:\s*(\w+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))[1],
  processes: listed('/proc').filter((name) => /^\d+$/.test(name)).length,
  state: listed('/var/lib/ostiary'),
  credentials: listed('/run/credentials/ostiary.service'),
});

serve({
  name: 'github',
  tools: {
    get_me: { call: () => text(JSON.stringify(me())) },
    get_token: { call: () => text(token) },
    create_issue: { call: () => text('created') },
  },
});
