/** Every number that bounds something, with its reason. Times in milliseconds, sizes in bytes, unless the name says so. */

const KiB = 1024;
const MiB = 1024 * KiB;
const second = 1000;
const minute = 60 * second;

export const limits = {
  /** One client message. Tool calls with inlined files reach a few MiB; the body is held whole to be judged. */
  requestBytes: 16 * MiB,
  /** One line from an upstream. Beyond it that answer alone fails; the child and its other calls go on. */
  answerBytes: 64 * MiB,
  /** Nesting of a client message; beyond it recursive parsers of upstreams overflow (C1). */
  jsonDepth: 64,
  /** All request headers together; a bearer token and MCP headers need under 1 KiB. */
  headerBytes: 16 * KiB,
  /** A client that needs longer for its headers is a slow-loris (B9). */
  headersTimeoutMs: 10 * second,
  /** Headers and body together. */
  requestTimeoutMs: 60 * second,
  /** Peers' default of 5 s leaves idle agents with dead sockets. */
  keepAliveMs: 75 * second,
  /** Open agent connections per listener. */
  connections: 512,
  /** Of these, for one session: an agent and its helpers hold a few for each of their conversations. */
  connectionsPerSession: 128,
  /** SSE comment that tells dead streams from quiet ones. */
  sseKeepAliveMs: 25 * second,

  /** Sessions at once; each is an agent run. */
  sessions: 256,
  /** A session without a living `run` behind it ends this long after its last use. */
  sessionIdleMs: 12 * 60 * minute,
  /** Tokens at once per session; a new one beyond this revokes the oldest. */
  tokensPerSession: 32,
  /** MCP conversations, hence upstream children, per session. Clients forget to DELETE theirs. */
  conversationsPerSession: 64,
  /** Requests of the modern era, each a conversation of its own, and line connections that speak it. */
  statelessPerSession: 1024,
  /** An HTTP conversation without a request or stream for this long is a client that left. */
  conversationIdleMs: 30 * minute,
  /** Requests in flight in one conversation. */
  pendingPerConversation: 1024,
  /** The id of a request that an upstream makes of the client; real ones are numbers and UUIDs. */
  askedIdChars: 256,
  /** An answer that was on its way when its request was cancelled arrives within this, or not at all. */
  cancelGraceMs: 3 * second,
  /** Unread by a line client; beyond it its upstream is paused. */
  lineBufferBytes: 1 * MiB,
  /** Unread by an upstream on its stdin; beyond it further messages are refused. */
  upstreamBufferBytes: 64 * MiB,
  /** Messages kept for a client whose GET stream is not open (yet). */
  backlogMessages: 1024,
  backlogBytes: 4 * MiB,

  /** Until an upstream must have answered `initialize`; a cold Node server on a busy machine needs 5 s. */
  upstreamStartMs: 60 * second,
  /** Until the answer to a probe for the modern era; a legacy server may give none, and a cold Node server needs 5 s. */
  eraProbeMs: 10 * second,
  /** Until an upstream must have answered any other request; builds and searches take minutes. */
  upstreamCallMs: 10 * minute,
  /** A child that no conversation owns is kept this long without use: agents pause while people read. */
  upstreamIdleMs: 10 * minute,
  /** Children of one upstream at once; a Node server takes 40 MiB and more, so this bounds a runaway client. */
  childrenPerUpstream: 64,
  /** From closing stdin and SIGTERM to SIGKILL of the process group. */
  upstreamGraceMs: 3 * second,
  /** One stderr line; longer ones are cut into pieces of this size. */
  stderrLineBytes: 16 * KiB,
  /** What an upstream can make us log at once: stack traces at its start. */
  logBurstBytes: 256 * KiB,
  /** The same in the long run: a few lines each second, under 400 MB in a day (F4). */
  logBytesPerSecond: 4 * KiB,
  /** A line of the log without what it tells. */
  logLineBytes: 150,
  /** Stderr kept per upstream child for `status` and start errors. */
  stderrTailLines: 50,

  /** A helper that needs a person (touch, PIN) answers within this. */
  helperTimeoutMs: 30 * second,
  /** Secrets are small: a certificate chain with its key is under 64 KiB. */
  secretBytes: 64 * KiB,
  /** Shorter values also occur by chance; redacting them would shred answers, so they are reported instead. */
  redactableBytes: 8,

  /** scrypt N = 2^17, r = 8, p = 1 (RFC 7914; OWASP's floor): about 0.3 s and 128 MiB per guess. */
  scryptLogN: 17,

  /** Between two looks for what nobody uses any more. */
  sweepMs: 30 * second,

  /** Config, vault and key files; a thousand upstreams or secrets fit. */
  trustedFileBytes: 8 * MiB,
  /** One control request. */
  controlBytes: 1 * MiB,
  /** From spawn of a daemon to its readiness. */
  daemonStartMs: 30 * second,
  /** Between two looks at a process that is ending. */
  pollMs: 10,
  /** Time that `down` and the end of `run` give the daemon to end its children. */
  daemonStopMs: 10 * second,

  /** Audit records reach the disk (fdatasync) at the latest this long after they were written. */
  auditSyncMs: 50,
  /** A longer last line cannot be one of ours. */
  auditLineBytes: 64 * KiB,

  /** `sun_path` on Linux is 108 with its NUL (unix(7)); macOS has 104. */
  socketPathBytes: process.platform === 'linux' ? 107 : 103,
} as const;
