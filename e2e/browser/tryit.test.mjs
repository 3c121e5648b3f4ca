// Drives the page of a newcomer in Chromium against a running bridge. Run by TestTryIt
// in ../console_test.go.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { after, test } from "node:test";
import { close, open, sideways, sizes, until } from "./chromium.mjs";

after(close);

const browser = (page, name) => page.locator(`[data-browser="${name}"]`);
const both = ["Browser A", "Browser B"];
const payloads = (page, name) => browser(page, name).locator("[data-event] > code").allInnerTexts();

async function online(page) {
  for (const name of both) await browser(page, name).getByText("Online").waitFor();
}

async function submit(page, status) {
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.locator(`[data-status="${status}"]`).waitFor();
}

test("the first event comes with one click", async (t) => {
  const page = await open(t, "/");
  await online(page);
  await submit(page, 200);
  for (const name of both) {
    await until(`${name} shows the message`, async () => {
      const got = await payloads(page, name);
      return got.length === 1 && /"sub_123".*"IN_PROGRESS"/.test(got[0]) ? "" : `${got}`;
    });
    assert.match(await browser(page, name).locator("[data-event]").innerText(), /submissionUpdate[\s\S]*\d ms[\s\S]*\d+-\d+/);
  }
  await picture(page, "tryit-sent");
});

test("who is another user does not get it, and the snippets say what the form says", async (t) => {
  const page = await open(t, "/");
  await online(page);
  await browser(page, "Browser B").getByRole("textbox").fill("user_999");
  await page.keyboard.press("Enter");
  await page.getByLabel("User", { exact: true }).fill("user_999");
  await page.getByLabel("Topic").fill("evaluationComplete");
  await until("the mapping is known", async () => {
    await page.getByRole("button", { name: "Send", exact: true }).click();
    await page.locator("[data-status]").waitFor(); // 404 until it is
    return (await payloads(page, "Browser B")).length ? "" : "nothing";
  });
  assert.match((await payloads(page, "Browser B"))[0], /ACCEPTED/);
  assert.deepEqual(await payloads(page, "Browser A"), []);
  await page.getByRole("tab", { name: "HTTP" }).click();
  const http = await page.getByRole("tabpanel").innerText();
  assert.ok(http.includes(`${new URL(page.url()).origin}/sendPayload`) && http.includes('"userId":"user_999"'), http);
  await page.keyboard.press("ArrowRight");
  const nats = await page.getByRole("tabpanel").innerText();
  assert.ok(nats.includes(`nats pub -s ${process.env.NATS_URL} codewar.evaluationComplete`), nats);
});

test("a browser that was away resumes, once and in order", async (t) => {
  const page = await open(t, "/");
  await online(page);
  await submit(page, 200);
  const b = browser(page, "Browser B");
  await until("both have the first", async () => ((await payloads(page, "Browser B")).length === 1 ? "" : "nothing"));
  await b.getByRole("button", { name: "Go offline" }).click();
  await b.getByText("Offline", { exact: true }).waitFor();
  for (let n = 1; n <= 3; n++) {
    await page.getByLabel("Payload").fill(`{"n": ${n}}`);
    await submit(page, 200);
    await until("A has it", async () => ((await payloads(page, "Browser A")).length === n + 1 ? "" : "not yet"));
  }
  assert.equal((await payloads(page, "Browser B")).length, 1);
  await b.getByRole("button", { name: "Come back" }).click();
  await b.locator('[data-resumed="3"]').waitFor();
  const got = await payloads(page, "Browser B");
  assert.deepEqual(got.slice(0, 3).map((p) => JSON.parse(p).n), [3, 2, 1], "newest first");
  assert.equal(got.length, 4);
});

test("nobody is there: 404, or it waits", async (t) => {
  const page = await open(t, "/", { allowed: /404.*sendPayload/ });
  await online(page);
  for (const name of both) { // nobody's of other tests
    await browser(page, name).getByRole("textbox").fill("user_404");
    await page.keyboard.press("Enter");
  }
  await page.getByLabel("User", { exact: true }).fill("user_404");
  for (const name of both) await browser(page, name).getByRole("button", { name: "Go offline" }).click();
  await until("the bridge knows that both left", async () => {
    await page.getByRole("button", { name: "Send", exact: true }).click();
    return (await page.locator('[data-status="404"]').count()) ? "" : "still pushed";
  });
  await page.getByLabel("Payload").fill('{"kept": true}');
  await page.getByLabel("Let it wait").check();
  await submit(page, 202);
  await browser(page, "Browser A").getByRole("button", { name: "Come back" }).click();
  await until("it waited", async () => ((await payloads(page, "Browser A"))[0]?.includes('"kept": true') ? "" : `${await payloads(page, "Browser A")}`));
});

test("fits a phone and a desktop, dark and light", async (t) => {
  for (const size of Object.keys(sizes)) {
    for (const colorScheme of ["light", "dark"]) {
      const page = await open(t, "/", { size, colorScheme });
      await online(page);
      await submit(page, 200);
      await until("it has come", async () => ((await payloads(page, "Browser A")).length ? "" : "nothing"));
      assert.equal(await sideways(page), 0, `scrolls sideways on a ${size}`);
      await picture(page, `tryit-${size}-${colorScheme}`);
    }
  }
});

async function picture(page, name) {
  const dir = process.env.PICTURES;
  if (!dir) return;
  mkdirSync(dir, { recursive: true });
  await page.screenshot({ path: `${dir}/${name}.png`, fullPage: true });
}
