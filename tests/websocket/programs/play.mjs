// Plays one scene with a server: node play.mjs SCENE URL. Prints a line for each thing it sees.
// Bun and Deno use the WebSocket of their own; so does a Node that has one.
import process from "node:process";
import { createInterface } from "node:readline";
import { connect, Rejected, RemoteError } from "../../../js/dist/index.js";
import { scenesOf } from "./scenes.mjs";

const [scene, url] = process.argv.slice(2);
const WebSocket =
  globalThis.WebSocket ?? (await import("../../../js/node_modules/ws/wrapper.mjs")).WebSocket;
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const scenes = scenesOf({
  say: (...words) =>
    console.log(words.map((word) => (typeof word === "string" ? word : JSON.stringify(word))).join(" ")),
  told: async () => (await lines.next()).value ?? "close",
  open: (options) => connect(url, { WebSocket, reconnect: { initial: 10, maximum: 50 }, ...options }),
  msgpack: () => import("../../../js/node_modules/@msgpack/msgpack/dist.esm/index.mjs"),
  Rejected,
  RemoteError,
});
await scenes[scene]();
process.exit(0);
