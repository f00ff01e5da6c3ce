// What a client has to do for `hisock conformance`, here with the JavaScript client:
//
//     hisock conformance --websocket 127.0.0.1:5000 &
//     node examples/conformance/agent.mjs ws://127.0.0.1:5000/
import process from "node:process";
import { connect } from "../../js/dist/index.js";

const WebSocket = globalThis.WebSocket ?? (await import("../../js/node_modules/ws/wrapper.mjs")).WebSocket;
const bytesOf = (text) => new TextEncoder().encode(text);

/** One connection, to its end; whether there was one. */
async function play(url) {
  const client = connect(url, { name: "agent", reconnect: false, WebSocket, onerror() {} });
  client.on("*", (message, command) => {
    if (command === undefined) return;
    const head = bytesOf(`${command}\n`);
    const whole = new Uint8Array(head.length + (message?.length ?? 0));
    whole.set(head);
    if (message) whole.set(message, head.length);
    client.send("heard", whole);
  });
  client.on("reply", (message) => message, Uint8Array);
  client.on("fail", () => {
    throw new Error("as asked for");
  });
  client.on("ask", async (message) => {
    const reply = client.call("question", message, { as: String });
    await reply.then(
      (text) => client.send("answered", text),
      (error) => client.send("failed", error.message),
    );
  }, String);
  client.on("leave", () => client.close());
  const joined = await client.ready.then(() => true, () => false);
  const why = await client.closed;
  return joined || why.code !== 1006;
}

while (await play(process.argv[2])) ;
