// What a client does with a server, scene by scene, in Node, Bun, Deno and browsers.
//
// open(options) connects, say(...words) writes a line, told() gives the next line of the test.
export function scenesOf({ open, say, told, msgpack, Rejected, RemoteError }) {
  return {
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
      const client = open({ codec: { name: "msgpack", ...(await msgpack()) } });
      say("moved", await client.call("move", { x: 1.5, tags: ["a"] }));
      client.close();
    },

    async rejected() {
      const client = open({ name: "Eve" });
      const why = await client.ready.catch((error) => error);
      say("rejected", why instanceof Rejected, why.message);
    },

    async restart() {
      const client = open({ name: "Ada" });
      client.on("disconnect", (why) => say("lost", why.code));
      client.on("reconnect", () => say("back"));
      client.on("force_disconnect", () => say("kicked"));
      await client.ready;
      say("here");
      for (let line; (line = await told()) !== "close"; )
        if (line === "send") client.send("note", "written meanwhile");
      client.close();
    },
  };
}
