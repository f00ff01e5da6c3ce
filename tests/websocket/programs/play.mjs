// Plays one scene with a server: node play.mjs SCENE URL [CA]. Prints a line for each thing it sees.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { decode, encode } from "../../../js/node_modules/@msgpack/msgpack/dist.esm/index.mjs";
import { WebSocket as Plain } from "../../../js/node_modules/ws/wrapper.mjs";
import { connect, RemoteError } from "../../../js/dist/index.js";

const [scene, url, ca] = process.argv.slice(2);
class Trusting extends Plain {
  constructor(address, protocols) {
    super(address, protocols, { ca: readFileSync(ca) });
  }
}
const say = (...words) => console.log(words.map((word) => (typeof word === "string" ? word : JSON.stringify(word))).join(" "));
const told = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const open = (options) =>
  connect(url, { WebSocket: ca ? Trusting : Plain, reconnect: { initial: 10, maximum: 50 }, ...options });

const scenes = {
  async talk() {
    const client = open({ name: "Ada", group: "red", token: "t" });
    client.on("said", (text) => say("said", text), String);
    client.on("double", (n) => 2 * n);
    client.on("client_connect", (info) => say("joined", info.name));
    await client.ready;
    say("sum", await client.call("sum", [1, 2, 3]));
    say("text", await client.call("upper", "hello ඞ", { as: String }));
    say("nothing", (await client.call("nothing")) === undefined);
    const failed = await client.call("fails").catch((error) => error);
    say("failed", failed instanceof RemoteError, failed.message);
    const unknown = await client.call("unknown").catch((error) => error);
    say("unknown", unknown instanceof RemoteError);
    say("asked back", await client.call("ask_me", 21));
    const big = "x".repeat(1_000_000);
    say("big", (await client.call("upper", big, { as: String })).length);
    client.send("say", "bye");
    client.send("quit");
    say("closed", (await client.closed).message, client.state);
  },

  async msgpack() {
    const client = open({ codec: { name: "msgpack", encode, decode } });
    say("moved", await client.call("move", { x: 1.5, tags: ["a"] }));
    client.close();
  },

  async rejected() {
    const client = open({ name: "Eve" });
    say("rejected", await client.ready.catch((error) => `${error.constructor.name}: ${error.message}`));
  },

  async restart() {
    const client = open({ name: "Ada" });
    client.on("disconnect", (why) => say("lost", why.code));
    client.on("reconnect", () => say("back"));
    client.on("force_disconnect", () => say("kicked"));
    await client.ready;
    say("here");
    for await (const line of told) {
      if (line === "send") client.send("note", "written meanwhile");
      else if (line === "close") break;
    }
    client.close();
  },
};

await scenes[scene]();
process.exit(0);
