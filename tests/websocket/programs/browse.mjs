// Drives a browser: node browse.mjs chromium|firefox COMMAND.
//
// A line that comes is a call on a page, as JSON: [page, "keyboard.press", ...arguments]. A page that is
// not there is opened: [page, "open", options]. Each is answered by a line:
// {"value": ...} or {"error": ...}. The line "quit" ends it.
import { createInterface } from "node:readline";
import * as playwright from "../../../js/node_modules/playwright-core/index.mjs";

const [name, executablePath] = process.argv.slice(2);
const flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic"];
// Debian's Firefox has no patches of Playwright's; by this channel it is driven with WebDriver BiDi.
const how = name === "firefox" ? { channel: "moz-firefox" } : { args: flags };
const browser = await playwright[name].launch({ executablePath, timeout: 60000, ...how });
const pages = new Map();

async function run([page, path, ...given]) {
  if (path === "open") {
    const opened = await (await browser.newContext(given[0])).newPage();
    pages.set(page, opened);
    opened.on("pageerror", (error) => process.stderr.write(`${error}\n`));
    return browser.version();
  }
  const parts = path.split(".");
  const last = parts.pop();
  const target = parts.reduce((object, part) => object[part], pages.get(page));
  if (last === "waitForFunction") return void (await target.waitForFunction(given[0], null, given[1]));
  const value = await target[last](...given);
  return value === null || Object(value) !== value || ["evaluate"].includes(last) ? value : null;
}

console.log("ready");
for await (const line of createInterface({ input: process.stdin })) {
  if (line === "quit") break;
  const answer = await run(JSON.parse(line)).then(
    (value) => ({ value: value ?? null }),
    (error) => ({ error: `${error}` }),
  );
  console.log(JSON.stringify(answer));
}
await browser.close();
process.exit(0);
