// node chromium.mjs BROWSER PAGE: a driver on the client that PAGE loads, in a browser.
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const [, , executablePath, address] = process.argv;
const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const page = await browser.newPage();
page.on("pageerror", (error) => console.error(error));
await page.exposeFunction("tell", (message) => void process.stdout.write(message + "\n"));
await page.goto(address);
await page.evaluate(() => { window.commands = driver(io, (message) => tell(JSON.stringify(message))); });

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => page.evaluate((command) => window.commands[command.do](command), JSON.parse(line)));
process.stdout.write('{"type":"ready"}\n');
lines.on("close", () => browser.close());
