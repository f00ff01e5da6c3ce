// A server made by hand: each test says what it answers, frame by frame.
import { once } from "node:events";
import { WebSocketServer } from "ws";
import { frame, splitter } from "../build/frames.js";

const ascii = (bytes) => Buffer.from(bytes).toString("latin1");

/** One client, as the server sees it. */
class Peer {
  #frames = [];
  #waiting = [];
  /** Frames of each message that came. */
  messages = [];

  constructor(socket) {
    this.socket = socket;
    this.closed = once(socket, "close").then(([code]) => code);
    const split = splitter(1 << 24);
    socket.on("message", (data) => {
      this.messages.push(data.length);
      for (const payload of split(new Uint8Array(data))) this.#arrived(ascii(payload));
    });
    socket.on("close", () => this.#arrived(null));
  }

  #arrived(payload) {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(payload);
    else this.#frames.push(payload);
  }

  /** The next frame as text; null when the client has closed. */
  async read() {
    if (this.#frames.length) return this.#frames.shift();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  send(...payloads) {
    this.socket.send(Buffer.concat(payloads.map((each) => frame("", Buffer.from(each)))));
  }

  /** Lets the client in; gives its hello. */
  async welcome(codec = "json") {
    const hello = JSON.parse((await this.read()).slice(10));
    this.send(`$SRVHELLO$${JSON.stringify({ features: ["call", "reject"], codec })}`);
    return hello;
  }
}

export class Server {
  #peers = [];
  #waiting = [];

  static async start() {
    const server = new Server();
    server.listening = new WebSocketServer({
      port: 0,
      host: "127.0.0.1",
      handleProtocols: (offered) => offered.has("hisock.v3") && "hisock.v3",
    });
    server.listening.on("connection", (socket) => {
      const peer = new Peer(socket);
      const waiting = server.#waiting.shift();
      if (waiting) waiting(peer);
      else server.#peers.push(peer);
    });
    await once(server.listening, "listening");
    server.url = `ws://127.0.0.1:${server.listening.address().port}/`;
    return server;
  }

  /** The next client that connects. */
  async accept() {
    if (this.#peers.length) return this.#peers.shift();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  stop() {
    for (const socket of this.listening.clients) socket.terminate();
    this.listening.close();
  }
}
