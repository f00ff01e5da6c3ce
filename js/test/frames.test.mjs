// The streams in tests/data/vectors.json, which the Python cores are tested with too.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { frame, splitCommand, splitter } from "../build/frames.js";

const { vectors } = JSON.parse(readFileSync(new URL("../../tests/data/vectors.json", import.meta.url)));
const hex = (bytes) => Buffer.from(bytes).toString("hex");

function meaning(payload) {
  if (hex(payload.subarray(0, 5)) !== hex(Buffer.from("$CMD$")))
    return { command: null, message: hex(payload) };
  const [command, message] = splitCommand(payload.subarray(5));
  return { command, message: message ? hex(message) : null };
}

function read(stream, step) {
  const split = splitter(1 << 24);
  const frames = [];
  try {
    for (let at = 0; at < stream.length; at += step)
      for (const payload of split(stream.slice(at, at + step))) frames.push(meaning(payload));
  } catch {
    return { frames, error: true };
  }
  return { frames, error: false };
}

for (const vector of vectors)
  test(`frames: ${vector.name}`, () => {
    const stream = new Uint8Array(Buffer.from(vector.stream, "hex"));
    for (const step of [1, 7, 1e6])
      assert.deepEqual(read(stream, step), { frames: vector.frames, error: vector.error });
  });

test("a frame is what the other side reads", () => {
  const built = frame("$CMD$héllo$MSG$", new Uint8Array([0, 255]));
  assert.equal(Buffer.from(built).toString("latin1"), "18              $CMD$h\xc3\xa9llo$MSG$\x00\xff");
});

test("16 MiB in small pieces cost no more than their bytes", () => {
  const stream = frame("$CMD$big$MSG$", new Uint8Array((1 << 24) - 13));
  const split = splitter(1 << 24);
  const began = performance.now();
  let frames = 0;
  for (let at = 0; at < stream.length; at += 500) frames += [...split(stream.subarray(at, at + 500))].length;
  assert.equal(frames, 1);
  assert.ok(performance.now() - began < 5000); // joined for each piece it would be minutes
});

test("a frame that comes byte by byte is not kept as thousands of pieces", () => {
  const stream = frame("$CMD$x$MSG$", new Uint8Array([1, 2, 3]));
  const split = splitter(1 << 24);
  const frames = [...split(stream.slice(0, 1))];
  const piece = new Uint8Array(1); // overwritten each time: a piece that is kept would change
  for (const byte of stream.subarray(1)) {
    piece[0] = byte;
    for (const payload of split(piece)) frames.push(hex(payload));
  }
  assert.deepEqual(frames, [hex(stream.subarray(16))]);
});
