/** The isolation level in force, in one line. What each level promises: SECURITY.md. */
export const levelInForce =
  'level L0: the agent is not sandboxed; a program of your own user that means harm can still reach secrets (SECURITY.md)';
