// dist/index.js and its types; dist/hisock.min.js for a <script type="module">.
import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { build } from "esbuild";

rmSync("dist", { recursive: true, force: true });
const common = { entryPoints: ["src/index.ts"], bundle: true, format: "esm", target: "es2022" };
await build({ ...common, outfile: "dist/index.js" });
await build({ ...common, outfile: "dist/hisock.min.js", minify: true });
// What the tests look into; it is not in the package.
await build({ ...common, entryPoints: ["src/frames.ts"], outfile: "build/frames.js" });
execFileSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "."], { stdio: "inherit" });
