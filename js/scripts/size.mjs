// The client is at most 3,250 bytes on the line.
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const LIMIT = 3250;
const size = gzipSync(readFileSync("dist/hisock.min.js"), { level: 9 }).length;
console.log(`dist/hisock.min.js: ${size} bytes gzipped, at most ${LIMIT}`);
process.exitCode = size > LIMIT ? 1 : 0;
