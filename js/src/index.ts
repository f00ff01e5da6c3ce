export { connect } from "./client.js";
export { ConnectionLost, Rejected, RemoteError } from "./errors.js";
export type * from "./types.js";
