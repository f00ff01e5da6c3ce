// Draws the field. It knows positions, names and colours, and nothing of the network.

const TRAIL = 14;
const canvas = document.querySelector("canvas");
const context = canvas.getContext("2d");
let theme = {};

function readTheme() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["ink", "faint", "line", "accent", "star", "light", "field"])
    theme[name] = style.getPropertyValue(`--${name}`).trim();
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", readTheme);
readTheme();

/** Somebody on the field, who glides to where the last message said. */
export class Figure {
  constructor(x, y, hue, name = "") {
    Object.assign(this, { x, y, hue, name, toX: x, toY: y, trail: [], score: 0 });
  }

  moveTo(x, y) {
    this.toX = x;
    this.toY = y;
  }

  glide(seconds) {
    const share = 1 - Math.exp(-16 * seconds);
    this.x += (this.toX - this.x) * share;
    this.y += (this.toY - this.y) * share;
    this.trail.push([this.x, this.y]);
    if (this.trail.length > TRAIL) this.trail.shift();
  }
}

/** A colour for a number, far from those of its neighbours. */
export const hueOf = (number) => (number * 137.5) % 360;
export const colourOf = (hue, alpha = 1) => `hsl(${hue} 72% ${theme.light} / ${alpha})`;

/** How the field lies in the canvas: as large as it fits. */
function fit(field) {
  const ratio = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth * ratio, canvas.clientHeight * ratio];
  if (canvas.width !== Math.round(width) || canvas.height !== Math.round(height)) {
    canvas.width = Math.round(width);
    canvas.height = Math.round(height);
  }
  const scale = Math.min(width / field.width, height / field.height);
  return { scale, left: (width - field.width * scale) / 2, top: (height - field.height * scale) / 2, ratio };
}

/** The place in the field under a pointer. */
export function placeOf(event, field) {
  const box = canvas.getBoundingClientRect();
  const { scale, left, top, ratio } = fit(field);
  return [
    ((event.clientX - box.left) * ratio - left) / scale,
    ((event.clientY - box.top) * ratio - top) / scale,
  ];
}

export function draw({ field, players, visitors, me, star, time }) {
  const { scale, left, top, ratio } = fit(field);
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.setTransform(scale, 0, 0, scale, left, top);
  drawGrid(field, ratio / scale);
  if (star) drawStar(star, time);
  for (const player of players) drawFigure(player, 6, 0.5);
  for (const visitor of visitors) {
    drawFigure(visitor, 10, 1);
    if (visitor === me) ring(visitor, time);
    label(visitor, visitor === me, (12 * ratio) / scale);
  }
}

function drawGrid(field, hair) {
  context.strokeStyle = theme.line;
  context.lineWidth = hair;
  context.beginPath();
  for (let x = 0; x <= field.width; x += 40) context.moveTo(x, 0), context.lineTo(x, field.height);
  for (let y = 0; y <= field.height; y += 40) context.moveTo(0, y), context.lineTo(field.width, y);
  context.stroke();
}

function drawFigure({ x, y, hue, trail }, radius, strength) {
  context.lineCap = "butt";
  for (let at = 1; at < trail.length; at++) {
    const share = at / trail.length;
    context.strokeStyle = colourOf(hue, 0.35 * strength * share);
    context.lineWidth = radius * 1.4 * share;
    context.beginPath();
    context.moveTo(...trail[at - 1]);
    context.lineTo(...trail[at]);
    context.stroke();
  }
  context.fillStyle = colourOf(hue);
  context.beginPath();
  context.arc(x, y, radius, 0, 7);
  context.fill();
}

function ring({ x, y, hue }, time) {
  context.strokeStyle = colourOf(hue, 0.9);
  context.lineWidth = 2;
  context.beginPath();
  context.arc(x, y, 15 + Math.sin(time / 300), 0, 7);
  context.stroke();
}

function label({ x, y, name }, mine, size) {
  context.font = `${mine ? 600 : 400} ${size}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.lineWidth = size / 4;
  context.strokeStyle = theme.field;
  context.strokeText(name, x, y - 20);
  context.fillStyle = mine ? theme.ink : theme.faint;
  context.fillText(name, x, y - 20);
}

function drawStar([x, y], time) {
  context.save();
  context.translate(x, y);
  context.rotate(Math.sin(time / 700) / 3);
  context.shadowColor = context.fillStyle = theme.star;
  context.shadowBlur = 24;
  context.beginPath();
  for (let point = 0; point < 10; point++) {
    const radius = point % 2 ? 6 : 14;
    const angle = (point * Math.PI) / 5 - Math.PI / 2;
    context.lineTo(radius * Math.cos(angle), radius * Math.sin(angle));
  }
  context.fill();
  context.restore();
}
