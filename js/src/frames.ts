/** Bytes to frames and back. No sockets here; see docs/explanation/wire.md for the format. */

export type Bytes = Uint8Array<ArrayBufferLike>;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const latin = new TextDecoder("latin1");

/** Text as UTF-8. */
export const toBytes = (text: string): Bytes => encoder.encode(text);

/** UTF-8 as text. @throws TypeError when it is none. */
export const toText = (bytes: Bytes): string => decoder.decode(bytes);

/** One character a byte, so that places in the text are places in the bytes. Only for ASCII. */
export const toAscii = (bytes: Bytes): string => latin.decode(bytes);

/** Several arrays, one behind the other. */
export function join(parts: Iterable<Bytes>, size: number): Bytes {
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Bytes of a frame's header. */
const HEADER = 16;

/** A whole frame: a header, `head` as text, and `body`. */
export function frame(head: string, body: Bytes = new Uint8Array(0)): Bytes {
  const start = toBytes(head);
  const size = start.length + body.length;
  return join([toBytes(`${size}`.padEnd(HEADER)), start, body], HEADER + size);
}

function check(command: string, wrong: RegExp): string {
  if (wrong.test(command)) throw new TypeError(`bad command: ${command}`);
  return command;
}

/** @throws TypeError when this command cannot be sent and read back as what it is. */
export const checkCommand = (command: string): string =>
  check(command, /^$|\$[^]+\$|\$MSG$/);

/** The command and the message, if any, behind `$CMD$`. @throws TypeError when it is not valid. */
export function splitCommand(data: Bytes): [command: string, message?: Bytes] {
  const end = toAscii(data).indexOf("$MSG$");
  const command = check(toText(end < 0 ? data : data.subarray(0, end)), /^$|\$[^]+\$/);
  return end < 0 ? [command] : [command, data.subarray(end + 5)];
}

/**
 * What cuts a stream of bytes into the payloads of its frames: give it the bytes that came, take
 * the payloads that are complete. It throws when a header is not valid, after those before it.
 *
 * @param limit bytes of a payload at most
 */
export function splitter(limit: number): (chunk: Bytes) => Iterable<Bytes> {
  let held: Bytes = new Uint8Array(0);
  let size = 0;
  let needed = HEADER;
  return function* (chunk) {
    if (size) {
      // At most doubled, so that pieces of any size cost O(n) time and memory together.
      const whole = size + chunk.length;
      if (whole > held.length)
        held = join([held.subarray(0, size)], Math.max(whole, Math.min(2 * whole, needed)));
      held.set(chunk, size);
    } else held = chunk;
    size += chunk.length;
    if (size >= needed) {
      let at = 0;
      for (needed = HEADER; at + HEADER <= size; needed = HEADER) {
        const header = toAscii(held.subarray(at, at + HEADER));
        if (!/^\d+ *$/.test(header) || +header > limit) throw new Error(`bad header: ${header}`);
        needed += +header;
        if (at + needed > size) break;
        yield held.subarray(at + HEADER, (at += needed));
      }
      held = held.subarray(at);
      size -= at;
    }
  };
}
