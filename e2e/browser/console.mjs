// node console.mjs ADDRESS: opens a page and prints what it writes to its console, until
// standard input ends. Run by TestReadme in ../readme_test.go.
import { close, launch } from "./chromium.mjs";

const page = await (await launch()).newPage();
page.on("console", async (message) => {
  const values = await Promise.all(message.args().map((value) => value.jsonValue()));
  console.log(...values.map((value) => JSON.stringify(value)));
});
page.on("pageerror", (error) => console.log(error.message));
await page.goto(process.argv[2]);
process.stdin.resume().on("end", close);
