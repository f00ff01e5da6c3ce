import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { decode, encode } from "@msgpack/msgpack";
import * as ws from "ws";
import { connect as connectMin, ConnectionLost, Rejected, RemoteError } from "../dist/hisock.min.js";

import { Server } from "./server.mjs";

// Node 20 has none of its own. Deno's hangs beside a server that is torn down in the same process;
// tests/websocket runs it with the real server.
const WebSocket = ("Deno" in globalThis ? undefined : globalThis.WebSocket) ?? ws.WebSocket;
const FAST = { initial: 1, maximum: 5 };
let server;
let clients;

beforeEach(async () => {
  server = await Server.start();
  clients = [];
});

afterEach(() => {
  for (const client of clients) client.close();
  server.stop();
});

function connect(options) {
  const client = connectMin(server.url, { WebSocket, reconnect: FAST, ...options });
  clients.push(client);
  return client;
}

/** A client that the server has let in, and the server's side of it. */
async function connected(options) {
  const client = connect(options);
  const peer = await server.accept();
  const hello = await peer.welcome(options?.codec?.name);
  await client.ready;
  return { client, peer, hello };
}

/** Values that a handler gets, to be awaited one by one. */
function listen(client, event, as) {
  const values = [];
  const waiting = [];
  client.on(
    event,
    (...got) => {
      if (waiting.length) waiting.shift()(got);
      else values.push(got);
    },
    as,
  );
  return () => (values.length ? values.shift() : new Promise((done) => waiting.push(done)));
}

const rejection = (promise) => promise.then(() => assert.fail("it did not fail"), (error) => error);

test("without any WebSocket the error names the option", () => {
  const own = globalThis.WebSocket;
  globalThis.WebSocket = undefined;
  try {
    assert.throws(() => connectMin(server.url), /no option WebSocket/);
  } finally {
    globalThis.WebSocket = own;
  }
});

test("the hello says who the client is and what it knows", async () => {
  const { client, hello, peer } = await connected({ name: "Ada", group: "red", token: "t" });
  const { name, group, token, codec, features, resume } = hello;
  assert.deepEqual({ name, group, token, codec }, { name: "Ada", group: "red", token: "t", codec: "json" });
  assert.ok(features.includes("call") && features.includes("reject"));
  assert.ok(resume.length > 15 && resume.length <= 64);
  assert.equal(peer.socket.protocol, "hisock.v3");
  assert.equal(client.state, "open");
});

test("values of each kind are sent as Python sends them", async () => {
  const { client, peer } = await connected();
  for (const value of ["text", 1.5, true, undefined, null, [1, { a: null }], new Uint8Array([104, 105]), 10n])
    client.send("say", value);
  const sent = [];
  for (let i = 0; i < 8; i++) sent.push((await peer.read()).replace("$CMD$say", ""));
  assert.deepEqual(sent, ["$MSG$text", "$MSG$1.5", "$MSG$true", "", "", '$MSG$[1,{"a":null}]', "$MSG$hi", "$MSG$10"]);
});

test("what cannot be sent throws, and nothing goes out", async () => {
  const { client, peer } = await connected();
  for (const value of [{ x: NaN }, [Infinity], () => 1, Symbol("s"), { n: 1n }])
    assert.throws(() => client.send("say", value), TypeError);
  for (const command of ["", "$a$", "a$MSG", "x$y$z"]) assert.throws(() => client.send(command), TypeError);
  client.send("after");
  assert.equal(await peer.read(), "$CMD$after");
});

test("messages become what the handler says", async () => {
  const { client, peer } = await connected();
  const got = {};
  client.on("json", (value) => (got.json = value));
  client.on("text", (value) => (got.text = value), String);
  client.on("number", (value) => (got.number = value), Number);
  client.on("flag", (value) => (got.flag = value), Boolean);
  client.on("bytes", (value) => (got.bytes = value), Uint8Array);
  client.on("none", (value) => (got.none = value));
  client.on("empty", (value) => (got.empty = value), String);
  const end = listen(client, "end");
  peer.send('$CMD$json$MSG${"a":[1]}', "$CMD$text$MSG$123", "$CMD$number$MSG$7", "$CMD$flag$MSG$false");
  peer.send("$CMD$bytes$MSG$\u0001", "$CMD$none", "$CMD$empty", "$CMD$end");
  await end();
  assert.deepEqual(got, {
    json: { a: [1] },
    text: "123",
    number: 7,
    flag: false,
    bytes: new Uint8Array([1]),
    none: undefined,
    empty: "",
  });
});

test("what is sent in one go is one message; a large one is cut", async () => {
  const { client, peer } = await connected();
  for (let i = 0; i < 100; i++) client.send("n", i);
  for (let i = 0; i < 100; i++) assert.equal(await peer.read(), `$CMD$n$MSG$${i}`);
  assert.equal(peer.messages.length, 2); // the hello, and these
  const big = "x".repeat(200_000);
  client.send("big", big);
  assert.equal(await peer.read(), `$CMD$big$MSG$${big}`);
  assert.ok(Math.max(...peer.messages) <= 65536);
});

test("handlers: several, once, off, and what nobody takes", async () => {
  const { client, peer } = await connected();
  const seen = [];
  const stop = client.on("a", () => seen.push(1));
  client.on("a", () => seen.push(2));
  client.once("a", () => seen.push(3));
  const rest = listen(client, "*");
  peer.send("$CMD$a", "$CMD$a", "$CMD$b$MSG$x", "raw");
  assert.deepEqual(await rest(), [new Uint8Array([120]), "b"]);
  assert.deepEqual(await rest(), [new Uint8Array([114, 97, 119]), undefined]);
  assert.deepEqual(seen, [1, 2, 3, 1, 2]);
  stop();
  peer.send("$CMD$a", "$CMD$c");
  assert.equal((await rest())[1], "c");
  client.off("a");
  peer.send("$CMD$a");
  assert.equal((await rest())[1], "a");
  assert.deepEqual(seen, [1, 2, 3, 1, 2, 2]);
});

test("a server's command has no way to the client's own events", async () => {
  const { client, peer } = await connected();
  client.on("disconnect", () => assert.fail("a command reached it"));
  const rest = listen(client, "*");
  peer.send("$CMD$disconnect");
  assert.equal((await rest())[1], "disconnect");
});

test("what a handler throws is reported, and the next runs", async () => {
  const errors = [];
  const { client, peer } = await connected({ onerror: (...got) => errors.push(got) });
  client.on("bad", () => {
    throw new Error("no");
  });
  client.on("notjson", () => {});
  const good = listen(client, "good");
  peer.send("$CMD$bad", "$CMD$notjson$MSG$hello", "$CMD$good");
  await good();
  assert.deepEqual(errors.map(([error, command]) => [error.constructor.name, command]), [
    ["Error", "bad"],
    ["SyntaxError", "notjson"],
  ]);
});

test("clients that come and go are told", async () => {
  const { client, peer } = await connected();
  const joined = listen(client, "client_connect");
  const left = listen(client, "client_disconnect");
  const info = { ip: ["1.2.3.4", 5], name: "Bob", group: null };
  peer.send(`$CLTCONN$${JSON.stringify(info)}`, `$CLTDISCONN$${JSON.stringify(info)}`);
  assert.deepEqual((await joined())[0], info);
  assert.deepEqual((await left())[0], info);
});

test("a keepalive is answered", async () => {
  const { peer } = await connected();
  peer.send("$KEEPALIVE$");
  assert.equal(await peer.read(), "$KEEPACK$");
});

test("calls get their replies, in any order", async () => {
  const { client, peer } = await connected();
  const replies = [client.call("a", 1), client.call("b"), client.call("c"), client.call("d", 0, { as: String })];
  assert.equal(await peer.read(), "$CALL$1$CMD$a$MSG$1");
  assert.equal(await peer.read(), "$CALL$2$CMD$b");
  peer.send("$REPLY$4$MSG$text", "$REPLY$3$ERR$no", "$REPLY$2", '$REPLY$1$MSG${"x":1}', "$REPLY$99");
  assert.deepEqual(await replies[0], { x: 1 });
  assert.equal(await replies[1], undefined);
  assert.equal(await replies[3], "text");
  const error = await rejection(replies[2]);
  assert.ok(error instanceof RemoteError);
  assert.equal(error.message, "no");
});

test("the server's calls are answered", async () => {
  const { client, peer } = await connected({ onerror() {} });
  client.on("double", (n) => 2 * n);
  client.on("later", async (text) => text + "!", String);
  client.on("nothing", () => {});
  client.on("fails", () => {
    throw new Error("why not");
  });
  peer.send("$CALL$12345678901234567890$CMD$double$MSG$4");
  assert.equal(await peer.read(), "$REPLY$12345678901234567890$MSG$8");
  peer.send("$CALL$2$CMD$later$MSG$yes");
  assert.equal(await peer.read(), "$REPLY$2$MSG$yes!");
  peer.send("$CALL$3$CMD$nothing");
  assert.equal(await peer.read(), "$REPLY$3");
  peer.send("$CALL$4$CMD$fails");
  assert.equal(await peer.read(), "$REPLY$4$ERR$why not");
  peer.send("$CALL$5$CMD$unknown");
  assert.equal(await peer.read(), "$REPLY$5$ERR$there is no handler for 'unknown'");
  peer.send("$CALL$6$CMD$disconnect");
  assert.equal(await peer.read(), "$REPLY$6$ERR$there is no handler for 'disconnect'");
});

test("a call ends by its time-out, and by its signal", async () => {
  const { client } = await connected();
  assert.equal((await rejection(client.call("slow", 0, { timeout: 1 }))).name, "TimeoutError");
  const stop = new AbortController();
  const call = rejection(client.call("slow", 0, { signal: stop.signal }));
  stop.abort(new Error("changed my mind"));
  assert.equal((await call).message, "changed my mind");
  assert.equal((await rejection(client.call("slow", 0, { signal: stop.signal }))).message, "changed my mind");
});

test("MessagePack by a codec", async () => {
  const { client, peer, hello } = await connected({ codec: { name: "msgpack", encode, decode } });
  assert.equal(hello.codec, "msgpack");
  client.send("at", { x: 1 });
  assert.equal(await peer.read(), "$CMD$at$MSG$\x81\xa1x\x01");
  client.send("at", 5); // numbers are text with each codec
  assert.equal(await peer.read(), "$CMD$at$MSG$5");
});

test("a server with another codec is left", async () => {
  const client = connect();
  await (await server.accept()).welcome("msgpack");
  assert.match((await rejection(client.ready)).message, /its codec is msgpack/);
  assert.equal((await client.closed).code, 1002);
});

test("a rejection says why, and is final", async () => {
  const client = connect();
  const peer = await server.accept();
  await peer.read();
  peer.send("$REJECT$the name is taken", "$DISCONN$");
  peer.socket.close(4003);
  const error = await rejection(client.ready);
  assert.ok(error instanceof Rejected);
  assert.equal(error.message, "the name is taken");
  assert.equal(await client.closed, error);
  assert.equal(client.state, "closed");
  assert.throws(() => client.send("x"), ConnectionLost);
  assert.ok((await rejection(client.call("x"))) instanceof ConnectionLost);
});

test("nobody listening: the first attempt is not repeated", async () => {
  server.stop();
  const client = connect();
  assert.ok((await rejection(client.ready)) instanceof ConnectionLost);
});

test("a server that says nothing is given up", async () => {
  const client = connect({ timeout: 20 });
  await server.accept();
  assert.match((await rejection(client.ready)).message, /no hello/);
});

test("what is sent before the hello waits for it", async () => {
  const client = connect();
  client.send("early", 1);
  const peer = await server.accept();
  await peer.welcome();
  assert.equal(await peer.read(), "$CMD$early$MSG$1");
});

test("a lost connection: it comes back with the same secret, and sends what was kept", async () => {
  const { client, peer, hello } = await connected({ name: "Ada" });
  const lost = listen(client, "disconnect");
  client.on("reconnect", () => client.send("enter", "room"));
  const asked = rejection(client.call("slow"));
  await peer.read();
  peer.socket.terminate();
  const [why] = await lost();
  assert.equal(why.code, 1006);
  assert.equal(await asked, why); // it was sent: nobody knows what became of it
  client.send("kept", 1);
  const again = await server.accept();
  assert.equal(client.state, "waiting");
  const queued = client.call("queued");
  assert.equal((await again.welcome()).resume, hello.resume);
  assert.equal(await again.read(), "$CMD$enter$MSG$room"); // rooms are entered again first
  assert.equal(await again.read(), "$CMD$kept$MSG$1");
  assert.match(await again.read(), /^\$CALL\$2\$CMD\$queued$/);
  again.send("$REPLY$2$MSG$7");
  assert.equal(await queued, 7);
});

test("a call that gives up while there is no connection is never sent", async () => {
  const { client, peer } = await connected();
  const lost = listen(client, "disconnect");
  peer.socket.terminate();
  await lost();
  assert.equal((await rejection(client.call("late", 0, { timeout: 1 }))).name, "TimeoutError");
  client.send("kept");
  const again = await server.accept();
  await again.welcome();
  assert.equal(await again.read(), "$CMD$kept");
});

test("replies and keepalive answers are not sent on another connection", async () => {
  const { client, peer } = await connected();
  const lost = listen(client, "disconnect");
  let release;
  client.on("ask", () => new Promise((done) => (release = done)));
  const ready = listen(client, "ready?");
  peer.send("$CALL$1$CMD$ask", "$CMD$ready?");
  await ready();
  peer.socket.terminate();
  await lost();
  release(1);
  const again = await server.accept();
  await again.welcome();
  client.send("next");
  assert.equal(await again.read(), "$CMD$next");
});

test("the buffer is bounded in bytes", async () => {
  const { client, peer } = await connected({ buffer: 100, reconnect: { initial: 1e6, maximum: 1e6 } });
  const lost = listen(client, "disconnect");
  peer.socket.terminate();
  await lost();
  client.send("a", "x".repeat(50));
  assert.throws(() => client.send("a", "x".repeat(50)), /buffer full/);
});

test("attempts end, and a hello makes them count anew", async () => {
  const { client, peer } = await connected({ reconnect: { ...FAST, attempts: 2 } });
  peer.socket.terminate();
  for (let round = 0; round < 3; round++) {
    (await server.accept()).socket.terminate(); // accepted, but no hello
    const good = await server.accept();
    await good.welcome();
    good.socket.terminate();
  }
  (await server.accept()).socket.terminate();
  (await server.accept()).socket.terminate();
  assert.ok((await client.closed) instanceof ConnectionLost);
});

test("without reconnect, a loss is the end", async () => {
  const { client, peer } = await connected({ reconnect: false });
  const call = rejection(client.call("x"));
  await peer.read();
  peer.socket.terminate();
  assert.equal((await client.closed).code, 1006);
  assert.ok((await call) instanceof ConnectionLost);
});

for (const code of [1000, 1008, 4003, 4009])
  test(`closed with ${code}: it does not come back`, async () => {
    const { client, peer } = await connected();
    peer.socket.close(code, "the reason");
    const why = await client.closed;
    assert.equal(why.code, code);
    assert.equal(why.message, "the reason");
  });

for (const code of [1001, 1011, 1013])
  test(`closed with ${code}: it comes back`, async () => {
    const { peer } = await connected();
    peer.socket.close(code);
    await (await server.accept()).welcome();
  });

test("kicked: told, and final", async () => {
  const { client, peer } = await connected();
  const kicked = listen(client, "force_disconnect");
  peer.send("$CMD$last", "$DISCONN$");
  peer.socket.close(1000);
  await kicked();
  assert.equal((await client.closed).message, "disconnected");
});

// Bun puts a server of its own in the place of ws, which answers each close.
const inBun = { skip: "Bun" in globalThis };
test("kicked by a server behind a proxy that swallows the close", inBun, async () => {
  const { client, peer } = await connected();
  peer.socket._receiver.removeAllListeners("conclude"); // the server's side never answers the close
  peer.send("$DISCONN$");
  assert.equal((await client.closed).message, "disconnected");
});

test("a restart is told from a kick by its code", async () => {
  const { client, peer } = await connected();
  client.on("force_disconnect", () => assert.fail("it was no kick"));
  const lost = listen(client, "disconnect");
  peer.send("$DISCONN$");
  peer.socket.close(1001);
  assert.equal((await lost())[0].code, 1001);
  await (await server.accept()).welcome();
});

test("a goodbye with a pause: it comes back after it", async () => {
  const { client, peer } = await connected();
  const lost = listen(client, "disconnect");
  const back = listen(client, "reconnect");
  peer.send("$GOAWAY$0.05", "$DISCONN$");
  await lost();
  const began = performance.now();
  await (await server.accept()).welcome();
  await back();
  assert.ok(performance.now() - began >= 40);
});

test("the longest pause is a day", async () => {
  const { client, peer } = await connected();
  const lost = listen(client, "disconnect");
  peer.send("$GOAWAY$86400");
  await lost();
  await new Promise((done) => setTimeout(done, 50)); // it would have come back by then
  assert.equal(client.state, "waiting");
  assert.equal(server.listening.clients.size, 0);
});

test("a server that breaks the protocol is left for good, and told why", async () => {
  const streams = ["x".repeat(16), "99999999999     ", "5               $CMD$"];
  const payloads = [
    ...["$CALL$x", "$CALL$1$CMD$", "$CALL$1", "$CALL$a1$CMD$x", "$CALL$ 1$CMD$x", "$CALL$1x$CMD$x"],
    ...["$CALL$-1$CMD$x", "$CALL$123456789012345678901$CMD$x", "$CALL$$CMD$x1"],
    ...["$REPLY$x", "$REPLY$a1$MSG$", "$REPLY$1x", "$REPLY$1$EXC${}", "$REPLY$-1", "$REPLY$1\n"],
    ...["$GOAWAY$soon", "$GOAWAY$", '$GOAWAY$"x"', "$GOAWAY$null", "$GOAWAY$-1", "$GOAWAY$1e99", "$GOAWAY$NaN"],
    ...["$GOAWAY$86400.1", "$GOAWAY$[1]", "$GOAWAY$1.", "$KEEPALIVE$x", "$DISCONN$x"],
    ...["$CLTCONN$null", "$CLTDISCONN$1", "$SRVHELLO$null", "$CLTCONN$"],
  ];
  const frames = payloads.map((each) => `${each.length}`.padEnd(16) + each);
  for (const bytes of [...streams, ...frames]) {
    const { client, peer } = await connected();
    const taken = listen(client, "*");
    peer.socket.send(Buffer.from(bytes));
    const why = await client.closed;
    assert.equal(why.code, 1002, bytes);
    assert.match(why.message, /bad (frame|header|command)|more than a day|not an object|JSON/, bytes);
    assert.notEqual(await peer.closed, undefined);
    assert.equal(await Promise.race([taken(), "nothing"]), "nothing", bytes);
  }
});

test("answers that a server never takes are bounded", async () => {
  const { client, peer } = await connected();
  const picture = new Uint8Array(1 << 20);
  client.on("picture", () => picture);
  peer.socket.pause();
  let asked = 0;
  const ask = () => peer.send(`$CALL$${++asked}$CMD$picture`);
  const asking = setInterval(ask, 1);
  const why = await client.closed;
  clearInterval(asking);
  assert.equal(why.message, "the server reads no answers");
  assert.ok(asked >= 64);
});

test("a server that says no hello is left", async () => {
  const client = connect();
  const peer = await server.accept();
  peer.send("$CMD$x");
  assert.match((await rejection(client.ready)).message, /no hello/);
});

test("close says goodbye after what was sent before", async () => {
  const { client, peer } = await connected();
  client.send("last", 1);
  client.close();
  assert.equal(client.state, "closed");
  assert.equal(await peer.read(), "$CMD$last$MSG$1");
  assert.equal(await peer.read(), "$USRCLOSE$");
  assert.equal(await peer.read(), null);
  client.close();
  assert.equal((await client.closed).code, 1000);
});

test("nothing is handled that comes behind what made a handler close the client", async () => {
  const { client, peer } = await connected();
  client.on("bye", () => client.close());
  const handled = [];
  for (const event of ["late", "force_disconnect", "*"]) client.on(event, () => handled.push(event));
  peer.send("$CMD$bye", "$DISCONN$", "$CMD$late");
  assert.equal((await client.closed).message, "closed");
  await peer.closed;
  assert.deepEqual(handled, []);
});

test("a signal closes the client, connected or between two attempts", async () => {
  const stop = new AbortController();
  const { client, peer } = await connected({ signal: stop.signal });
  stop.abort();
  assert.equal(await peer.read(), "$USRCLOSE$");
  await client.closed;
  assert.throws(() => connect({ signal: stop.signal }));
  const other = new AbortController();
  const second = await connected({ signal: other.signal, reconnect: { initial: 1e6, maximum: 1e6 } });
  const lost = listen(second.client, "disconnect");
  second.peer.socket.terminate();
  await lost();
  other.abort();
  assert.equal((await second.client.closed).code, 1000);
});
