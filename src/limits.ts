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
  /** Of these, for each user besides the daemon's own. */
  sessionsPerGuest: 32,
  /** To remove what a child of another user left: its temporary files may be many. */
  removeMs: 30 * second,
  /** Parents between a peer and the process that its session is bound to; shells in shells reach some tens. */
  processDepth: 256,
  /** Processes of one agent that are looked through for the owner of a connection. */
  processesSearched: 4096,
  /** Control groups below the one that a session is bound to. */
  cgroupsSearched: 1024,
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
  /** Of these at `/mcp`, where each has a child of every upstream. */
  mergedPerSession: 8,
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

  /** Clients that share one upstream child; as many as there can be agent connections, some times over. */
  legsPerUpstream: 4096,
  /** Kept per request to be put back into its answer; real ids and progress tokens are numbers and UUIDs. */
  sharedIdBytes: 1 * KiB,
  /** Unread by one of several clients of a shared child. Waiting longer would stall the others, so it is ended. */
  legQueueBytes: 8 * MiB,
  /** Resources that one client watches on a shared child. */
  subscriptionsPerLeg: 1024,
  /** Each update is compared with the parents of its URI. */
  subscriptionUriChars: 2 * KiB,
  /** Tasks, and elicitations by URL, that a shared child keeps for one session; the oldest is forgotten first. */
  sharedIdsPerSession: 1024,

  /** Until an upstream must have answered `initialize`; a cold Node server on a busy machine needs 5 s. */
  upstreamStartMs: 60 * second,
  /** Until the answer to a probe for the modern era; a legacy server may give none, and a cold Node server needs 5 s. */
  eraProbeMs: 10 * second,
  /** The same of a server that has answered already: its client waits for that answer. */
  eraProbeWarmMs: 2 * second,
  /** Revisions that a server says it speaks; there have been five in two years. */
  revisionsNamed: 32,
  /** A connection that was opened for the probe is kept for the client that falls back, which does so at once. */
  spareMs: 10 * second,
  /** Until an upstream must have answered any other request; builds and searches take minutes. */
  upstreamCallMs: 10 * minute,
  /** A child that no conversation owns is kept this long without use: agents pause while people read. */
  upstreamIdleMs: 10 * minute,
  /** Children of one upstream at once; a Node server takes 40 MiB and more, so this bounds a runaway client. */
  childrenPerUpstream: 64,
  /** `/mcp` answers for the upstreams that have answered by then; a slow one joins later. Clients wait 10 s or more. */
  mergeGraceMs: 5 * second,
  /** Between two tries to start an upstream of `/mcp` that is down: each try is a process, and asks for its secrets. */
  mergeRetryMs: 30 * second,
  /** Of one list of one upstream, against lists without an end (F4). Servers in the field have 1,000 entries, by tens. */
  listPages: 1000,
  listEntries: 10_000,
  listBytes: 16 * MiB,
  /** Lists that conversations keep, of upstreams that tell of changes; all together. The largest real ones are 2 MiB. */
  keptListsBytes: 32 * MiB,
  /** For so long at most, should an upstream not tell after all. */
  keptListMs: 1 * minute,
  /** Between two notices that a list has changed (F4): a client asks for the whole list after each. */
  listChangedMs: 1 * second,
  /** Tasks whose upstream is remembered; who polls has a few. */
  tasksPerUpstream: 1024,
  /** Of one upstream, in UTF-16 units: instructions fill the context of every conversation. */
  instructionsChars: 8 * 1024,
  /** What an upstream says of its failure, in UTF-16 units, where it becomes part of a message of ours. */
  problemChars: 300,
  /** Starts that fail in a row before an upstream is left alone; each costs seconds, and three are no accident. */
  upstreamFailures: 3,
  /** Then it is left alone for this long, the next time for twice as long, … */
  upstreamWaitMs: 5 * second,
  /** … up to this: whoever mends an upstream should not wait longer for it. */
  upstreamLongestWaitMs: 5 * minute,
  /** A child that answered and got this old did not die of its start. */
  upstreamHealthyMs: 30 * second,

  /** Rounds of input that one bridged call may take; the SDKs' clients give up after as many. */
  inputRounds: 10,
  /** Requests for input in one round; more than a few at once no person can answer. */
  inputRequests: 32,
  /** Before a call is tried again that only had to wait: at first (as the SDKs do), doubling up to the second. */
  inputRetryMs: 250,
  inputRetryMaxMs: 5 * second,
  /** Resources that one bridged client is subscribed to; each change sends the whole set. */
  resourceSubscriptions: 512,
  /** Before a notification stream that ended is opened again: at first, doubling up to the second. */
  listenRetryMs: 250,
  listenRetryMaxMs: 30 * second,
  /** Openings in a row that may fail; with the waits between them, about a minute of a server that restarts. */
  listenRetries: 8,
  /** A stream that lived this long was no failure. */
  listenSettledMs: 60 * second,

  /** Reasons that one client of `/mcp` is told why something is missing; real ones are one or two per upstream. */
  warnings: 256,
  /** From closing stdin and SIGTERM to SIGKILL of the process group. */
  upstreamGraceMs: 3 * second,
  /** Whoever ends its session waits this long for what the session's children make of their grace. */
  leaseEndMs: 5 * second,
  /** Until an upstream's host has taken a connection, TLS included; distant ones need under 1 s. */
  upstreamConnectMs: 10 * second,
  /** Until an HTTP upstream has accepted a notification or response, which is no work. */
  upstreamAcceptMs: 30 * second,
  /** A connection idle for this long is closed by us: Node and uvicorn close theirs after 5 s, maybe as we write. */
  upstreamSocketIdleMs: 4 * second,
  /** First probe of a connection on which nothing moves: tells a dead host from a quiet stream. */
  tcpKeepAliveMs: 30 * second,
  /** Idle connections kept per HTTP upstream; calls that come together leave that many. */
  upstreamIdleConnections: 16,
  /** From one end of an upstream's stream to the first attempt to open it again, unless it says how long. */
  reconnectMs: 1 * second,
  /** The longest pause between attempts. */
  reconnectMaxMs: 30 * second,
  /** The shortest, whatever the server says: 0 would be a busy loop. */
  reconnectMinMs: 50,
  /** Failed attempts in a row to resume the stream of one request. */
  resumeAttempts: 5,
  /** A stream that goes on after the answer it was for: what follows belongs to nobody. */
  answeredStreamMs: 3 * second,
  /** An upstream that ends has this long to hear that its session is over. */
  sessionDeleteMs: 1 * second,
  /** A session id; some are signed tokens. It goes back in every request, as a header. */
  upstreamSessionIdBytes: 4 * KiB,
  /** An id of a server-sent event; UUIDs and cursors are shorter. */
  eventIdBytes: 1 * KiB,
  /** Tools per upstream whose arguments go into headers as well; each has a few. */
  toolsWithHeaders: 4096,
  headersPerTool: 64,
  /** One header made from an argument; servers take 8 to 16 KiB of headers. */
  toolHeaderBytes: 8 * KiB,
  /** One stderr line; longer ones are cut into pieces of this size. */
  stderrLineBytes: 16 * KiB,
  /** What an upstream can make us log at once: stack traces at its start. */
  logBurstBytes: 256 * KiB,
  /** The same in the long run: a few lines each second, under 400 MB in a day (F4). */
  logBytesPerSecond: 4 * KiB,
  /** A line of the log without what it tells. */
  logLineBytes: 150,

  /** Of one call of a probe: what only reads answers sooner, and a probe makes many. */
  probeCallMs: 30 * second,
  /** Between two looks at the processes of a probed upstream: some live for a moment. One look takes a few ms. */
  probeLookMs: 50,

  /** Of one check of `doctor`: what is well answers in a few hundred ms, also on a busy machine. */
  doctorCheckMs: 10 * second,
  /** Until a daemon that runs must have answered `doctor`, which it does at once. */
  doctorAnswerMs: 3 * second,
  /** Until an upstream that `doctor` starts must have answered; a cold Node server on a busy machine needs 5 s. */
  doctorUpstreamMs: 15 * second,
  /** All upstreams, and the end of the daemon that was started for them: with it `doctor` stays below 30 s. */
  doctorUpstreamsMs: 24 * second,
  /** Upstreams that `doctor` starts at once: each is a process, and more would slow each other down. */
  doctorUpstreamsAtOnce: 4,
  /** From here on `doctor` says that logs only grow: verifying the audit log takes seconds then. */
  largeLogBytes: 256 * MiB,

  /** A helper that needs a person (touch, PIN) answers within this. */
  helperTimeoutMs: 30 * second,
  /** A helper's stderr is read to its end and shown to nobody; more than this is a runaway. */
  helperStderrBytes: 1 * MiB,
  /** Between two looks whether another process has finished with a helper; it takes tens of milliseconds and more. */
  helperTurnMs: 25,
  /** After a refresh that failed or brought nothing new: asking may cost a touch, a login or a rate limit. */
  credentialRetryMs: 30 * second,
  /** Before a credential expires the next one is asked for, at most this long: as the AWS SDKs do. */
  credentialLeadMs: 5 * minute,
  /** The keychain answers within 0.1 s. Who waits for one that is locked or hangs should hear so. */
  keychainMs: 3 * second,
  /** Somebody who was told to look for its prompt finds it and types a passphrase within this. */
  keychainPromptMs: 60 * second,
  /** Secrets are small: a certificate chain with its key is under 64 KiB. */
  secretBytes: 64 * KiB,
  /** Secrets handed to `run --ci`; jobs have a handful. */
  givenSecrets: 256,
  /** A larger file is not looked at by `run --ci`: credentials are written into small ones. */
  lookedAtBytes: 16 * MiB,
  /** All files together, and how many: a monorepo with its packages has 200,000 files and 2 GiB. */
  lookedAtTotalBytes: 4096 * MiB,
  lookedAtFiles: 500_000,
  /** Looking at them; a job should not wait longer for it. 100 MB take about a second. */
  lookMs: 60 * second,
  /** Places that one refusal names; who mends these runs it again. */
  exposedPlaces: 20,
  /** Files that include one another, as git's configuration files do. */
  gitIncludes: 64,
  /** Shorter values also occur by chance; redacting them would shred answers, so they are reported instead. */
  redactableBytes: 8,

  /** Files, and bytes, of one upstream's program with its packages; large servers have 10,000 and 100 MiB. */
  programFiles: 100_000,
  programBytes: 2048 * MiB,

  /** An access token is renewed a tenth of its lifetime ahead of its expiry, within these bounds … */
  tokenRenewLeastMs: 30 * second,
  /** … which also is long enough for a call that begins now to arrive with a valid one. */
  tokenRenewMostMs: 5 * minute,
  /** Between two tries of a refresh that failed: at first, doubling … */
  tokenRetryMs: 5 * second,
  /** … up to this. */
  tokenRetryMostMs: 5 * minute,
  /** A server that refuses a token younger than this refuses the next one, too: it would be renewed for each request. */
  tokenRefusedMs: 30 * second,
  /** One refresh: connection, answer and its file. Beyond it its process ends. */
  tokenRefreshMs: 60 * second,
  /** For another process that is at the same refresh. */
  tokenTurnMs: 90 * second,
  /** A person logs in, with a second factor, and consents. */
  loginMs: 10 * minute,
  /** Pages that say how to log in: one for each login and set of scopes that is missing. */
  loginPages: 64,
  /** Requests that the login's listener takes: the browser's one, its icon, and strays. */
  callbackRequests: 64,
  /** The callback's URL; codes and error descriptions take under 4 KiB. */
  callbackUrlBytes: 8 * KiB,
  /** One request of a login or refresh, its answer included; identity providers answer within seconds. */
  oauthRequestMs: 30 * second,
  /** Metadata or tokens. The largest metadata in the field is under 10 KiB, and tokens have to fit into headers. */
  oauthAnswerBytes: 256 * KiB,
  /** Redirects of a metadata document within its origin: to add a slash, or a tenant. */
  oauthRedirects: 3,
  /** A URL that a server names; browsers and servers take 8 KiB. */
  oauthUrlChars: 8 * KiB,
  /** Scopes of one login; the widest real ones are a few dozen. Bounds what step-up adds up to. */
  oauthScopes: 128,
  oauthScopeChars: 256,
  /** Authorization servers that one resource names; real ones name one. */
  oauthServers: 16,
  /** Between two questions whether a device code was entered, when the server fails; seconds. */
  oauthPollSeconds: 60,
  /** What a server says of its refusal, where it becomes part of a message of ours. */
  oauthErrorChars: 200,

  /** scrypt N = 2^17, r = 8, p = 1 (RFC 7914; OWASP's floor): about 0.3 s and 128 MiB per guess. */
  scryptLogN: 17,

  /** An installation by npm: of hundreds of packages over a slow line. */
  packageInstallMs: 10 * minute,
  /** What npm says, of which the end is shown. */
  npmWordsBytes: 64 * KiB,
  /** The list of an installed package's files; 100,000 files fit. */
  packageRecordBytes: 16 * MiB,
  /** A program that is asked for its version answers within this; Node needs 40 ms. */
  versionMs: 10 * second,
  /** A copy of a program that is not finished after this was left by a daemon that was killed. */
  copyMs: 10 * minute,

  /** Between two looks for what nobody uses any more. */
  sweepMs: 30 * second,
  /** The least time between them, whatever idle timeouts are configured. */
  sweepLeastMs: 100,

  /** Config, vault and key files; a thousand upstreams or secrets fit. */
  trustedFileBytes: 8 * MiB,
  /** One control request. */
  controlBytes: 1 * MiB,
  /** From spawn of the agent's launcher to its report; Node needs under 0.1 s, on a busy emulated machine 20 s. */
  launcherStartMs: 60 * second,
  /** One try of bubblewrap; it takes 10 ms. */
  bubblewrapTrialMs: 5 * second,
  /** Until what an agent started must have ended after it; each look takes a millisecond. */
  descendantsMs: 3 * second,
  /** From spawn of a daemon to its readiness. */
  daemonStartMs: 30 * second,
  /** Between two looks at a process that is ending. */
  pollMs: 10,
  /** Time that `down` and the end of `run` give the daemon to end its children. */
  daemonStopMs: 10 * second,

  /** One attack of `doctor --attack`. Most take a few milliseconds, some start ostiary: a second, or several under load. */
  attackMs: 15 * second,
  /** All of them, with the world that they are made in: about 6 s on an idle machine. */
  attacksMs: 90 * second,
  /** Starts of an upstream that an attacker races against (A10), and the time that they may take. */
  racedStarts: 20,
  racedStartsMs: 3 * second,
  /** Audit records reach the disk (fdatasync) at the latest this long after they were written. */
  auditSyncMs: 50,
  /** How a call ended is in the log this long after it did: the next call's record takes it along, if one comes first. */
  auditNoteMs: 5,
  /** A longer last line cannot be one of ours. */
  auditLineBytes: 64 * KiB,

  /** `sun_path` on Linux is 108 with its NUL (unix(7)); macOS has 104. */
  socketPathBytes: process.platform === 'linux' ? 107 : 103,
} as const;
