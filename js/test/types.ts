// Not run: `npm run check` compiles it. Each @ts-expect-error is an error that has to be one.
import { type Client, type Codec, connect, Rejected, RemoteError } from "../src/index.js";

interface Game {
  events: {
    moved: { x: number; y: number };
    said: string;
    colour: "red" | "blue";
    picture: Uint8Array;
    score: number;
    started: void;
  };
  commands: { move: { x: number; y: number }; say: string; leave: void; note: string | undefined };
  calls: {
    price: (item: string) => number;
    motto: (of: number) => string;
    now: () => number;
    save: (state: { level: number }) => void;
  };
  answers: { ready: () => boolean; pick: (choices: string[]) => number };
}

const game = connect<Game>("wss://example.org/", { name: "Ada", reconnect: { attempts: 3 } });

// What the server sends.
const stop: () => void = game.on("moved", (at) => at.x + at.y);
game.on("score", (score) => score.toFixed());
game.on("score", (score) => score.toFixed(), Number);
game.on("said", (text) => text.trim(), String);
game.on("picture", (bytes) => bytes.length, Uint8Array);
game.on("colour", (colour) => colour === "red", JSON.parse);
game.on("started", () => {});
game.on("client_connect", (info) => info.ip[1] + (info.name ?? "").length);
game.on("disconnect", (why) => why.message);
game.on("*", (message, command) => [message?.length, command]);
game.once("moved", ({ x }) => x);
game.off("moved");
// @ts-expect-error no such command
game.on("mooved", () => {});
// @ts-expect-error no such field
game.on("moved", (at) => at.z);
// @ts-expect-error text has to be said to be text
game.on("said", (text) => text.trim());
// @ts-expect-error so have bytes
game.on("picture", (bytes) => bytes.length);
// @ts-expect-error String gives any text, not one of two
game.on("colour", (colour) => colour === "red", String);
// @ts-expect-error a number is not text
game.on("score", (score) => score, String);
// @ts-expect-error events of the client are not read from bytes
game.on("reconnect", () => {}, String);

// What the server asks.
game.on("ready", () => true);
game.on("ready", async () => false);
game.on("pick", (choices) => choices.length - 1);
// @ts-expect-error the reply has another type
game.on("ready", () => "yes");
// @ts-expect-error so has this promise
game.on("pick", async () => "first");

// What is sent.
game.send("move", { x: 1, y: 2 });
game.send("say", "hello");
game.send("leave");
game.send("note");
game.send("note", "x");
// @ts-expect-error no such command
game.send("jump");
// @ts-expect-error y is missing
game.send("move", { x: 1 });
// @ts-expect-error the message is missing
game.send("say");
// @ts-expect-error there is no message
game.send("leave", 1);

// What is asked.
const price: Promise<number> = game.call("price", "lamp", { timeout: 100 });
const now: Promise<number> = game.call("now");
const waited: Promise<number> = game.call("now", undefined, { signal: AbortSignal.timeout(9) });
const motto: Promise<string> = game.call("motto", 1, { as: String });
const saved: Promise<void> = game.call("save", { level: 1 });
// @ts-expect-error no such call
game.call("cost", "lamp");
// @ts-expect-error another type of message
game.call("price", 5);
// @ts-expect-error the message is missing
game.call("price");
// @ts-expect-error another type of reply
const wrong: Promise<string> = game.call("price", "lamp");
// @ts-expect-error text has to be said to be text
game.call("motto", 1);

// A client without a protocol takes anything.
const loose: Client = connect("ws://127.0.0.1:5000");
loose.on("anything", (message) => message.whatever);
loose.on("anything", (text) => text.trim(), String);
loose.send("anything", [1, 2]);
loose.send("anything");
loose.call("anything", 1, { timeout: 5 }).then((reply) => reply.whatever);

// Options, states, errors.
declare const msgpack: Codec;
connect("ws://x", { codec: msgpack, reconnect: false, signal: AbortSignal.timeout(1), token: "t" });
// @ts-expect-error no such option
connect("ws://x", { reconect: true });
const state: "connecting" | "open" | "waiting" | "closed" = game.state;
// @ts-expect-error read only
game.state = "open";
const ready: Promise<Client<Game>> = game.ready;
game.closed.then((why: Error) => why instanceof Rejected || why instanceof RemoteError);

// A part may be left out; nothing can be sent then.
const watcher = connect<{ events: { moved: number } }>("ws://x");
watcher.on("moved", (n) => n.toFixed());
// @ts-expect-error this protocol has no commands
watcher.send("move");
