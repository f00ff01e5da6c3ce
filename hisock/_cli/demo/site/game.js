// The page of `hisock demo --web`: one client, like every other of the game.
import { connect } from "./hisock.min.js";
import { colourOf, draw, Figure, hueOf, placeOf } from "./drawing.js";

const SPEED = 260; // of a visitor, in units of the field a second
const SEND_EVERY = 1000 / 30;
const ADJECTIVES = ["Swift", "Quiet", "Brave", "Lucky", "Merry", "Clever", "Gentle", "Bold"];
const ANIMALS = ["Otter", "Heron", "Fox", "Lynx", "Robin", "Badger", "Hare", "Owl"];

const pick = (list) => list[Math.floor(Math.random() * list.length)];
const element = (id) => document.getElementById(id);
const asked = new URLSearchParams(location.search);
const { port } = await (await fetch("config.json")).json();

const field = { width: 640, height: 480 };
const players = new Map();
const visitors = new Map();
let me, myId, star;
let moves = 0;

// -- the network

const game = connect(`ws://${location.hostname}:${port}/`, {
  name: asked.get("name") ?? `${pick(ADJECTIVES)} ${pick(ANIMALS)}`,
  group: `room-${asked.get("room") ?? 0}`,
});

// A simulated player's move is 32 bytes: room, player, sequence, flags, time, x, y.
game.on(
  "move",
  (bytes) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const [number, x, y] = [view.getUint32(4, true), view.getFloat32(24, true), view.getFloat32(28, true)];
    moves++;
    if (players.has(number)) players.get(number).moveTo(x, y);
    else players.set(number, new Figure(x, y, hueOf(number)));
  },
  Uint8Array,
);
game.on("walked", ([id, x, y]) => id !== myId && visitors.get(id)?.moveTo(x, y));
game.on("came", add);
game.on("went", (id) => {
  visitors.delete(id);
  showScores();
});
game.on("caught", ({ id, score, star: next }) => {
  star = next;
  const visitor = visitors.get(id);
  if (visitor) visitor.score = score;
  showScores();
});
game.on("disconnect", () => (element("state").textContent = "connection lost, trying again"));
game.on("reconnect", enter);
game.ready.then(enter, () => {});
game.closed.then(() => (element("state").textContent = "The demo has ended."));

async function enter() {
  const found = await game.call("enter");
  Object.assign(field, { width: found.width, height: found.height });
  visitors.clear();
  myId = found.id;
  star = found.star;
  found.visitors.forEach(add);
  me = visitors.get(myId);
  element("state").textContent = "";
  showScores();
}

function add({ id, name, x, y, score }) {
  const visitor = visitors.get(id) ?? new Figure(x, y, hueOf(id + 0.5), name);
  visitor.score = score;
  visitors.set(id, visitor);
  showScores();
}

// -- playing

const keys = new Set();
const DIRECTIONS = {
  ArrowUp: [0, -1], KeyW: [0, -1], ArrowDown: [0, 1], KeyS: [0, 1],
  ArrowLeft: [-1, 0], KeyA: [-1, 0], ArrowRight: [1, 0], KeyD: [1, 0],
};
let target;

addEventListener("keydown", (event) => {
  if (!(event.code in DIRECTIONS) || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  target = undefined;
  keys.add(event.code);
});
addEventListener("keyup", (event) => keys.delete(event.code));
addEventListener("blur", () => keys.clear());

const canvas = document.querySelector("canvas");
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  target = placeOf(event, field);
});
canvas.addEventListener("pointermove", (event) => {
  if (event.buttons) target = placeOf(event, field);
});

/** Where this visitor wants to go, as a step of at most its speed. */
function step(seconds) {
  let [x, y] = [0, 0];
  for (const code of keys) (x += DIRECTIONS[code][0]), (y += DIRECTIONS[code][1]);
  if (target) [x, y] = [target[0] - me.toX, target[1] - me.toY];
  const length = Math.hypot(x, y);
  if (!length) return false;
  const far = Math.min(SPEED * seconds, target ? length : Infinity);
  const clamp = (value, most) => Math.min(Math.max(value, 0), most);
  me.moveTo(clamp(me.toX + (x / length) * far, field.width), clamp(me.toY + (y / length) * far, field.height));
  if (target && far === length) target = undefined;
  return true;
}

let before = performance.now();
let sentAt = 0;
let unsent = false;
function frame(time) {
  const seconds = Math.min((time - before) / 1000, 0.1);
  before = time;
  if (me && step(seconds)) unsent = true;
  if (unsent && game.state === "open" && time - sentAt >= SEND_EVERY) {
    game.send("walk", { x: me.toX, y: me.toY });
    sentAt = time;
    unsent = false;
  }
  for (const figure of [...players.values(), ...visitors.values()]) figure.glide(seconds);
  draw({ field, players: players.values(), visitors: visitors.values(), me, star, time });
  requestAnimationFrame(frame);
}
requestAnimationFrame(frame);

// -- figures and scores

function showScores() {
  const best = [...visitors.values()].sort((one, other) => other.score - one.score).slice(0, 6);
  element("scores").replaceChildren(
    ...best.map((visitor) => {
      const item = document.createElement("li");
      const dot = document.createElement("i");
      dot.style.background = colourOf(visitor.hue);
      item.append(dot, `${visitor.name} ${visitor.score}`);
      if (visitor === me) item.className = "me";
      return item;
    }),
  );
}

async function showFigures() {
  const began = performance.now();
  const reached = await game.call("ping", undefined, { timeout: 2000 }).then(
    () => `${(performance.now() - began).toFixed(1)} ms`,
    () => "-",
  );
  const bold = (text) => `<b>${text}</b>`;
  element("figures").innerHTML =
    `${bold(players.size)} players · ${bold(visitors.size)} visitors · ${bold(moves)} moves/s · ${bold(reached)}`;
  moves = 0;
}
setInterval(showFigures, 1000);

Object.assign(window, { demo: { game, visitors, players, get me() { return me; }, get star() { return star; } } });
