/** Values to the bytes of messages and back. */
import { type Bytes, toBytes, toText } from "./frames.js";
import type { Codec } from "./types.js";

/** JSON would make null of it without a word. */
function refuseNaN(_: string, value: unknown): unknown {
  if (typeof value == "number" && !isFinite(value)) throw new TypeError(`JSON has no ${value}`);
  return value;
}

export const json: Codec = {
  name: "json",
  encode(value) {
    const text = JSON.stringify(value);
    if (text.includes("null")) JSON.stringify(value, refuseNaN);
    return toBytes(text);
  },
  decode: (bytes) => JSON.parse(toText(bytes)),
};

/** A message, `undefined` for none: bytes as they are, text and numbers as text. */
export function encode(codec: Codec, value: unknown): Bytes | undefined {
  if (value == null) return undefined;
  if (value instanceof Uint8Array) return value;
  return Object(value) === value ? codec.encode(value) : toBytes(`${value}`);
}

/** The value of a message. */
export function decode(codec: Codec, as: any, bytes: Bytes = new Uint8Array(0)): unknown {
  if (as == Uint8Array) return bytes;
  if (as == Boolean) return toText(bytes) == "true";
  if (as) return as(toText(bytes));
  return bytes.length ? codec.decode(bytes) : undefined;
}
