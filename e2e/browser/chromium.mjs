// What the tests of the pages share: one headless Chromium, and pages that fail a
// test when the browser complains.
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

export const url = process.env.BRIDGE_URL;

export const sizes = { phone: { width: 390, height: 844 }, desktop: { width: 1440, height: 900 } };

// patience is how long a wait may take, in ms: a browser on a busy machine is slow.
const patience = 60_000;

let browser;

export async function launch() {
  browser ??= await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
      ...(process.env.CHROMIUM_MAP ? [`--host-resolver-rules=${process.env.CHROMIUM_MAP}`] : [])],
  });
  return browser;
}

export async function close() {
  await browser?.close();
}

/**
 * open opens a page for one test. When the test ends, whatever the console of the
 * browser has complained of fails it, unless `allowed` matches it.
 */
export async function open(t, path, { size = "desktop", colorScheme = "light", allowed, ...context } = {}) {
  const ctx = await (await launch()).newContext({ viewport: sizes[size], colorScheme, ...context });
  const page = await ctx.newPage();
  const complaints = [];
  page.setDefaultTimeout(patience);
  page.on("console", (m) => {
    const text = `${m.type()}: ${m.text()} ${m.location().url}`;
    if (["error", "warning"].includes(m.type()) && !allowed?.test(text)) complaints.push(text);
  });
  page.on("pageerror", (e) => complaints.push(`exception: ${e.message}`));
  t.after(async () => {
    await ctx.close();
    assert.deepEqual(complaints, [], "the browser complained");
  });
  await page.goto(url + path);
  return page;
}

/** until waits until state answers undefined or "", and fails with its last answer. */
export async function until(what, state, limit = patience) {
  let last;
  for (const deadline = Date.now() + limit; Date.now() < deadline; await new Promise((r) => setTimeout(r, 50))) {
    last = await state();
    if (!last) return;
  }
  assert.fail(`waited in vain until ${what}: ${last}`);
}

/** sideways is by how many pixels a page can be scrolled to the side. */
export function sideways(page) {
  return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}

/** send posts to /sendPayload, as any caller does. */
export async function send(body, query = "") {
  const answer = await fetch(`${url}/sendPayload${query}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  return { status: answer.status, ...(await answer.json()) };
}
