import { ConnectionLost, Rejected, RemoteError } from "./errors.js";
import { type Bytes, checkCommand, frame, join, splitCommand, splitter, toAscii, toText } from "./frames.js";
import { EVENTS, type Handle, handlerTable } from "./handlers.js";
import type { AnyProtocol, Client, Options, Reconnect, State } from "./types.js";
import { decode, encode, json } from "./values.js";

/** Bytes of one WebSocket message at most: what is only batched must not meet a server's limit. */
const PIECE = 65536;
/** Milliseconds for a server that said goodbye to close the connection. */
const LINGER = 1000;
/** Bytes of answers that may wait for a server that takes none. */
const ANSWERS = 67108864;
/** What may follow the names of frames that do not take everything. */
const FORMATS: Record<string, RegExp> = {
  CALL: /^(\d{1,20})\$CMD\$/,
  REPLY: /^(\d{1,20})(\$(MSG|ERR)\$|$)/,
  GOAWAY: /^\d{1,5}(\.\d{1,3})?$/,
  KEEPALIVE: /^$/,
  DISCONN: /^$/,
};

type Call = [take: (message?: Bytes) => void, fail: (error: unknown) => void, built: Bytes];

/**
 * Connects to a server. Sending works at once; `await client.ready` to know that it was let in.
 *
 * @param url as in `wss://example.org/`
 */
export function connect<P = AnyProtocol>(
  url: string | URL,
  {
    name = null,
    group = null,
    token,
    codec = json,
    reconnect = true,
    signal,
    timeout = 10000,
    buffer = PIECE,
    maxMessageSize = 16777216,
    WebSocket = globalThis.WebSocket,
    onerror = console.error,
  }: Options = {},
): Client<P> {
  // Else the error names a variable of the minified code.
  if (!WebSocket) throw new Error("no option WebSocket");
  /** The same on each connection: the server ends the one before, should it not know it is lost. */
  const resume = crypto.getRandomValues(new Uint32Array(5)).join("");
  const [handlers, add, remove, run] = handlerTable(onerror);
  const calls = new Map<string, Call>();
  /** What is to be written, each with whether it may wait for another connection. */
  const queue = new Map<Bytes, unknown>();
  let queued = 0;
  /** Bytes of answers since the server has taken all. */
  let answered = 0;
  let number = 0;
  let state: State = "connecting";
  let socket: any;
  let attempt = 0;
  /** The server's own word on why it ends the connection. */
  let goodbye: ConnectionLost | undefined;
  let timer: any;
  let nowReady: (client: Client<P>) => void;
  let notReady: (why: Error) => void;
  let nowClosed: (why: Error) => void;

  // -- sending

  const message = (head: string, value: unknown): Bytes => {
    const body = encode(codec, value);
    return frame(head + (body ? "$MSG$" : ""), body);
  };
  const command = (head: string, name: string, value: unknown): Bytes =>
    message(`${head}$CMD$${checkCommand(name)}`, value);

  function write(built: Bytes, keep?: unknown): void {
    if (state == "closed") throw new ConnectionLost("closed");
    if (state != "open" && queued + built.length > buffer) throw new ConnectionLost("buffer full");
    queue.set(built, keep);
    queued += built.length;
    if (!keep) answered += built.length;
    if (queue.size == 1) queueMicrotask(flush);
  }

  function unqueue(built: Bytes): void {
    if (queue.delete(built)) queued -= built.length;
  }

  /** What was sent in one go goes out as one message. */
  function flush(): void {
    if (state != "open" || socket.readyState > 1) return;
    if (!socket.bufferedAmount) answered = 0;
    if (Math.min(answered, socket.bufferedAmount) > ANSWERS) return drop(1002, "the server reads no answers");
    const bytes = join(queue.keys(), queued);
    queue.clear();
    queued = 0;
    for (let at = 0; at < bytes.length; at += PIECE) socket.send(bytes.subarray(at, at + PIECE));
  }

  async function call(name: string, value?: unknown, options: any = {}): Promise<any> {
    const { timeout = 5000, signal, as } = options;
    signal?.throwIfAborted();
    const key = "" + ++number;
    const built = command(`$CALL$${key}`, name, value);
    let timer: any;
    let abort: any;
    try {
      const reply = await new Promise<Bytes | undefined>((take, fail) => {
        write(built, calls);
        calls.set(key, [take, fail, built]);
        signal?.addEventListener("abort", (abort = () => fail(signal.reason)));
        const late = () => fail(new DOMException(`no reply to ${name}`, "TimeoutError"));
        if (timeout) timer = setTimeout(late, timeout);
      });
      return decode(codec, as, reply);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      calls.delete(key);
      unqueue(built); // nobody waits any more: it must not be sent later
    }
  }

  // -- receiving

  const fire = (name: string, value?: unknown, second?: unknown) =>
    void run(name, () => value, second);

  function info(data: Bytes): any {
    const value = JSON.parse(toText(data));
    if (Object(value) !== value) throw new Error(`not an object: ${value}`);
    return value;
  }
  /** What to do with each kind of frame. */
  const kinds: Record<string, (data: Bytes, ...found: string[]) => void> = {
    SRVHELLO: (data) => welcome(info(data).codec),
    REJECT: (data) => (goodbye = new Rejected(toText(data), 4003)),
    DISCONN: leave,
    GOAWAY(_, seconds) {
      if (+seconds! > 86400) throw new Error("a pause of more than a day");
      drop(1001, "", 1000 * +seconds! * (1 + Math.random()));
    },
    CMD: (data) => handle(...splitCommand(data)),
    // What is no call throws here, not in a promise that nobody awaits.
    CALL(data, head, digits) {
      answer(digits!, ...splitCommand(data.subarray(head!.length)));
    },
    REPLY: reply,
    KEEPALIVE: () => write(frame("$KEEPACK$")),
    CLTCONN: (data) => fire("client_connect", info(data)),
    CLTDISCONN: (data) => fire("client_disconnect", info(data)),
  };

  function take(payload: Bytes): void {
    const text = toAscii(payload);
    const [start = "", name = ""] = /^\$([A-Z]+)\$/.exec(text) ?? [];
    if (state != "open" && !/^(SRVH|REJ|DIS|GO)/.test(name)) throw new Error("no hello");
    const found = (FORMATS[name] ?? /^/).exec(text.slice(start.length));
    if (!found) throw new Error(`bad frame: ${text.slice(0, 40)}`);
    const kind = kinds[name];
    if (kind) kind(payload.subarray(start.length), ...found);
    else fire("*", payload);
  }

  function handle(name: string, body?: Bytes): unknown {
    if (handlers.has(name) && !EVENTS.test(name)) return run(name, (as) => decode(codec, as, body), name);
    return fire("*", body, name);
  }

  async function answer(digits: string, name: string, body?: Bytes): Promise<void> {
    const asked = socket;
    let reply: Bytes;
    try {
      if (!handlers.has(name)) throw new Error(`there is no handler for '${name}'`);
      reply = message(`$REPLY$${digits}`, await handle(name, body));
    } catch (error: any) {
      reply = frame(`$REPLY$${digits}$ERR$${error?.message ?? error}`);
    }
    // On the connection that the call came by: on another, the number may be another call's.
    if (socket == asked && state == "open") write(reply);
  }

  function reply(data: Bytes, ...[head, digits, kind]: string[]): void {
    const call = calls.get(digits!);
    const body: any = kind && data.subarray(head!.length);
    if (kind == "$ERR$") call?.[1](new RemoteError(toText(body)));
    else call?.[0](body);
  }

  // -- connections

  function open(): void {
    const mine = (socket = new WebSocket(url, "hisock.v3"));
    const split = splitter(maxMessageSize);
    mine.binaryType = "arraybuffer";
    mine.onopen = () =>
      mine.send(
        frame(
          `$CLTHELLO$${JSON.stringify({
            name,
            group,
            token,
            features: ["call", "reject", "goaway"],
            codec: codec.name,
            resume,
          })}`,
        ),
      );
    mine.onerror = () => {}; // the close that follows says all there is, and ws throws without it
    mine.onclose = (event: any) => lost(event.code, event.reason);
    mine.onmessage = (event: any) => {
      try {
        for (const payload of split(new Uint8Array(event.data))) if (socket == mine) take(payload);
      } catch (error: any) {
        drop(1002, error.message);
      }
    };
    timer = setTimeout(drop, timeout, 1006, "no hello");
  }

  function welcome(theirs: string): void {
    if (theirs != codec.name) throw new Error(`its codec is ${theirs}`);
    clearTimeout(timer);
    const back = state == "waiting";
    state = "open";
    attempt = 0;
    const kept = [...queue.keys()]; // goes out after what the handler of this event sends
    queue.clear();
    if (back) fire("reconnect");
    for (const built of kept) queue.set(built, calls);
    nowReady(client);
    queueMicrotask(flush);
  }

  /** The server said goodbye. The close code that follows tells a restart from a kick. */
  function leave(): void {
    clearTimeout(timer);
    goodbye ??= new ConnectionLost("disconnected", 1000);
    timer = setTimeout(drop, LINGER, 1000);
    socket.close();
  }

  /** Does not wait for the other side, which may never close. */
  function hangUp(): void {
    if (!socket) return;
    socket.onclose = socket.onmessage = 0;
    socket.close();
  }

  function drop(code: number, reason?: string, wait?: number): void {
    hangUp();
    lost(code, reason, wait);
  }

  function lost(code: number, reason?: string, pause = 0): void {
    clearTimeout(timer);
    socket = 0;
    const kicked = code != 1001 && goodbye;
    const why = kicked || new ConnectionLost(reason || `closed: ${code}`, code);
    const again = /^10(0[156]|1[1-4])$/.test(code as any) && state != "connecting";
    const {
      initial = 250,
      maximum = 3e4,
      factor = 2,
      jitter = 0.5,
      attempts = reconnect ? 1 / 0 : 0,
    } = reconnect as Reconnect; // of a boolean all are undefined
    goodbye = undefined;
    if (kicked || !again || attempt >= attempts) {
      if (why.code == 1000) fire("force_disconnect");
      return end(why);
    }
    if (state == "open") fire("disconnect", why);
    state = "waiting";
    for (const [built, keep] of queue) if (!keep) unqueue(built);
    for (const [, fail, built] of calls.values()) if (!queue.has(built)) fail(why);
    pause += Math.min(initial * factor ** attempt++, maximum) * (1 - jitter * Math.random());
    timer = setTimeout(open, pause);
  }

  function end(why: Error): void {
    state = "closed";
    socket = 0; // what came behind this in one message is not handled
    clearTimeout(timer);
    signal?.removeEventListener("abort", close);
    for (const [, fail] of calls.values()) fail(why);
    queue.clear();
    notReady(why);
    nowClosed(why);
  }

  function close(): void {
    if (state == "closed") return;
    if (state == "open") {
      write(frame("$USRCLOSE$"));
      flush();
    }
    hangUp();
    end(new ConnectionLost("closed", 1000));
  }

  const client = {
    get state() {
      return state;
    },
    ready: new Promise<Client<P>>((...settle) => ([nowReady, notReady] = settle)),
    closed: new Promise((closed) => (nowClosed = closed)),
    on: (name: string, handle: Handle, as: unknown) => add(name, handle, as, 0),
    once: (name: string, handle: Handle, as: unknown) => add(name, handle, as, 1),
    off: (name: string, handle?: Handle) => remove(name, handle),
    send: (name: string, value: unknown) => write(command("", name, value), calls),
    call,
    close,
  } as any as Client<P>;
  client.ready.catch(() => {}); // a program that does not ask gets no unhandled rejection
  signal?.throwIfAborted();
  signal?.addEventListener("abort", close);
  open();
  return client;
}
