/** The connection ended, or there was none in time. */
export class ConnectionLost extends Error {
  /** @param code the WebSocket's close code; 1006 when it ended without a word */
  constructor(
    message: string,
    readonly code = 1006,
  ) {
    super(message);
  }
}

/** The server does not let this client in; the message says why. */
export class Rejected extends ConnectionLost {}

/** The handler of a call failed on the other side, or there is none; the message is its own. */
export class RemoteError extends Error {}
