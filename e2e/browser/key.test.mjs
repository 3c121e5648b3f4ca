// Drives the console of a bridge that asks for an operators' key. Run by
// TestConsoleKey in ../console_test.go.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { close, open, until, url } from "./chromium.mjs";

after(close);

const key = process.env.OPS_KEY;
const far = { extraHTTPHeaders: { "X-Forwarded-For": "203.0.113.9" } }; // not this machine

test("without a key there is no console, and a browser asks for it", async () => {
  const answer = await fetch(`${url}/console`, { headers: far.extraHTTPHeaders });
  assert.equal(answer.status, 401);
  assert.match(answer.headers.get("WWW-Authenticate"), /^Basic /);
});

test("the browser's own question for the key opens it", async (t) => {
  const page = await open(t, "/console", { ...far, httpCredentials: { username: "me", password: key }, allowed: /401|WebSocket/ });
  await page.locator("[data-health]").waitFor();
  await page.locator("[data-link=connected]").waitFor();
});

test("a key that is no longer known is asked for again", async (t) => {
  const page = await open(t, "/console", { ...far, httpCredentials: { username: "me", password: key }, allowed: /401|WebSocket/ });
  await page.evaluate(() => sessionStorage.setItem("ops-key", "withdrawn"));
  await page.reload();
  const form = page.getByRole("form", { name: "Operators' key" });
  await form.waitFor();
  await page.getByLabel("Operators' key").last().fill("wrong");
  await form.getByRole("button").click();
  await page.getByText("This key is not known").waitFor();
  await page.getByLabel("Operators' key").last().fill(key);
  await form.getByRole("button").click();
  await page.locator("[data-health]").waitFor();
  await page.locator("[data-link=connected]").waitFor();
  await until("samples come over polling", async () => ((await page.locator('[data-figure="sockets"] .value').innerText()) === "0" ? "" : "no sample"));
  assert.equal(await page.evaluate(() => sessionStorage.getItem("ops-key")), key);
  await page.getByRole("button", { name: "Forget the key" }).click();
  await form.waitFor();
});
