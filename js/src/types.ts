/**
 * What two sides say to each other; each part may be left out.
 *
 * @example
 * interface Game {
 *   events: { moved: { x: number; y: number } };   // the server sends
 *   commands: { say: string };                     // this client sends
 *   calls: { price: (item: string) => number };    // this client asks
 *   answers: { ready: () => boolean };             // the server asks
 * }
 */
export interface Protocol {
  events?: object;
  commands?: object;
  calls?: object;
  answers?: object;
}

/** A protocol of which nothing is known. */
export interface AnyProtocol {
  events: Record<string, any>;
  commands: Record<string, any>;
  calls: Record<string, (message?: any) => any>;
  answers: Record<string, (message?: any) => any>;
}

type Part<P, K extends keyof Protocol> = P extends { [key in K]: infer T } ? T : {};
type IsAny<T> = 0 extends 1 & T ? true : false;
type Argument<F> = F extends (...args: infer A) => unknown ? (A extends [] ? void : A[0]) : never;
type Result<F> = F extends (...args: any) => infer R ? Awaited<R> : never;
type Key<T> = keyof T & string;

/** What a client is told of another. */
export interface ClientInfo {
  ip: [host: string, port: number];
  name: string | null;
  group: string | null;
}

/** What the client itself tells. */
export interface Reserved {
  /** Somebody joined, this client included. */
  client_connect: ClientInfo;
  client_disconnect: ClientInfo;
  /** The server disconnected this client for good. */
  force_disconnect: void;
  /** The connection is lost, and the client is to come back. */
  disconnect: Error;
  /** It has come back; what was sent meanwhile goes out after this. */
  reconnect: void;
  /** A frame that no handler takes: its bytes, and its command if it has one. */
  "*": Uint8Array | undefined;
}

/**
 * How the bytes of a message become a value, where it is not by the codec: a function of its text
 * (`String`, `Number`, `Boolean`, one of your own), or `Uint8Array` for the bytes themselves.
 */
export type As<T> =
  | ((text: string) => T)
  | (Extract<T, Uint8Array> extends never ? never : Uint8ArrayConstructor);

/** Text is never guessed to be text: where a message may be a `string` or bytes, say how it is read. */
type NeedsAs<T> =
  IsAny<T> extends true ? false : Extract<T, string | Uint8Array> extends never ? false : true;

type Events<P> = Part<P, "events">;
type Commands<P> = Part<P, "commands">;
type Calls<P> = Part<P, "calls">;
type Answers<P> = Part<P, "answers">;

export type Listened<P> = Key<Events<P>> | Key<Answers<P>> | keyof Reserved;
export type Sendable<P> = Key<Commands<P>>;
export type Callable<P> = Key<Calls<P>>;

export type Heard<P, K> = K extends keyof Reserved
  ? Reserved[K]
  : K extends keyof Answers<P>
    ? Argument<Answers<P>[K]>
    : K extends keyof Events<P>
      ? Events<P>[K]
      : never;
type Returned<P, K> = K extends keyof Answers<P>
  ? Result<Answers<P>[K]> | Promise<Result<Answers<P>[K]>>
  : unknown;
export type Handler<P, K> = (message: Heard<P, K>, command: string) => Returned<P, K>;
export type AsRest<P, K> = K extends keyof Reserved
  ? []
  : NeedsAs<Heard<P, K>> extends true
    ? [as: As<Heard<P, K>>]
    : [as?: As<Heard<P, K>>];

export type SendRest<P, K extends Sendable<P>> = undefined extends Commands<P>[K]
  ? [message?: Commands<P>[K]]
  : [message: Commands<P>[K]];

/** The value that a call gives. */
export type Reply<P, K extends Callable<P>> = Result<Calls<P>[K]>;
type Asked<P, K extends Callable<P>> = Argument<Calls<P>[K]>;
export type CallRest<P, K extends Callable<P>> =
  NeedsAs<Reply<P, K>> extends true
    ? [message: Asked<P, K>, options: CallOptions<Reply<P, K>> & { as: As<Reply<P, K>> }]
    : undefined extends Asked<P, K>
      ? [message?: Asked<P, K>, options?: CallOptions<Reply<P, K>>]
      : [message: Asked<P, K>, options?: CallOptions<Reply<P, K>>];

export interface CallOptions<T> {
  /** Milliseconds until it fails with a `TimeoutError`; default 5,000; 0 waits for ever. */
  timeout?: number;
  /** Gives up when it aborts, with the signal's reason. */
  signal?: AbortSignal;
  /** How the reply is read; by the codec when left out. */
  as?: As<T>;
}

/** How values that are not text, bytes, numbers or booleans are written. */
export interface Codec {
  /** What the server calls it: `"json"` or `"msgpack"`. */
  name: string;
  encode(value: unknown): Uint8Array;
  decode(bytes: Uint8Array): unknown;
}

/** When a client that lost its server tries again; times in milliseconds. */
export interface Reconnect {
  /** Before the first attempt; default 250. */
  initial?: number;
  /** What the wait grows to at most; default 30,000. */
  maximum?: number;
  /** By how much it grows each time; default 2. */
  factor?: number;
  /** The share of each wait that is random, 0 to 1; default 0.5. */
  jitter?: number;
  /** Failed attempts after which it gives up; default: never. */
  attempts?: number;
}

export interface Options {
  name?: string | null;
  group?: string | null;
  /** What the server's `authenticate` lets the client in by. */
  token?: string;
  /** JSON when left out; the server must have the same. */
  codec?: Codec;
  /** Come back after a lost connection; default true. */
  reconnect?: boolean | Reconnect;
  /** Closes the client when it aborts. */
  signal?: AbortSignal;
  /** Milliseconds that the server has to let the client in; default 10,000. */
  timeout?: number;
  /** Bytes kept at most of what is sent while there is no connection; default 65,536. */
  buffer?: number;
  /** Bytes of a message at most; a server that sends a longer one is left. Default 16 MiB. */
  maxMessageSize?: number;
  /** The class of WebSocket, where there is no global one (Node 20: `ws`). */
  WebSocket?: any;
  /** Is told what handlers throw; default `console.error`. */
  onerror?: (error: unknown, command: string) => void;
}

/** `connecting` until the server first lets the client in, `waiting` between two connections. */
export type State = "connecting" | "open" | "waiting" | "closed";

/** One client of a server; `connect` makes it. */
export interface Client<P = AnyProtocol> {
  readonly state: State;
  /** Resolves when the server lets the client in, rejects when it does not. */
  readonly ready: Promise<Client<P>>;
  /** Resolves with the reason when the client is closed for good. */
  readonly closed: Promise<Error>;

  /**
   * Handles a command, or one of the events in `Reserved`. What it returns, or what the promise
   * that it returns gives, is the reply where the server asked; of several handlers, the first.
   *
   * @returns a function that takes the handler away again
   */
  on<K extends Listened<P>>(command: K, handler: Handler<P, K>, ...as: AsRest<P, K>): () => void;

  /** The same for the next time only. */
  once<K extends Listened<P>>(command: K, handler: Handler<P, K>, ...as: AsRest<P, K>): () => void;

  /** Takes a handler of a command away, or all of them. */
  off<K extends Listened<P>>(command: K, handler?: Handler<P, K>): void;

  /**
   * Sends a command. Without a connection it is kept, up to `buffer` bytes.
   *
   * @throws TypeError when the command or the message cannot be sent
   * @throws ConnectionLost when the client is closed, or its buffer is full
   */
  send<K extends Sendable<P>>(command: K, ...message: SendRest<P, K>): void;

  /**
   * Sends a command and gives what the server's handler returns. Without a connection it waits for
   * one; it is not repeated where the connection is lost after it was sent.
   *
   * Fails with a `RemoteError`, a `TimeoutError` (a `DOMException`), a `ConnectionLost`, or the
   * signal's reason.
   */
  call<K extends Callable<P>>(command: K, ...rest: CallRest<P, K>): Promise<Reply<P, K>>;

  /** Says goodbye and closes; what was sent before goes out first. Closing twice does nothing. */
  close(): void;
}
