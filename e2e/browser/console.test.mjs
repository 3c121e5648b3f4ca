// Drives the console in Chromium against a running bridge, while messages flow. It is
// run by TestConsole in ../console_test.go, which publishes them: to `busy`, who has two
// pages, one every 20 ms; and one that breaks the rules.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { after, test } from "node:test";
import { close, open, send, sideways, sizes, until, url } from "./chromium.mjs";

after(close);

const value = (page, selector) => page.locator(selector).first().innerText();
const cells = (page, table, label) => page.locator(`[data-table="${table}"] td[data-label="${label}"]`).allInnerTexts();
const numberIn = (text) => Number(text.replaceAll(/[^\d.]/g, ""));

test("charts move while messages flow", async (t) => {
  const page = await open(t, "/console");
  await page.locator("[data-health]").waitFor();
  assert.match(await value(page, "[data-health]"), /^Healthy/);
  const shown = { pushed: new Set(), picture: new Set(), lag: new Set() };
  await until("numbers and lines have moved", async () => {
    shown.pushed.add(await value(page, '[data-value="outcome.pushed"]'));
    shown.picture.add(await page.locator('[data-chart="outcomes"] canvas').evaluate((c) => c.toDataURL().length + c.toDataURL().slice(-4000)));
    return shown.pushed.size < 3 || shown.picture.size < 4 ? `values ${[...shown.pushed]}, ${shown.picture.size} pictures` : "";
  });
  await until("the rate is that of the publisher", async () => {
    const rate = numberIn(await value(page, '[data-figure="rate"] .value'));
    return rate > 10 && rate < 100 ? "" : `${rate} messages a second`;
  });
  await until("the topic has its line", async () => (await page.locator('[data-chart="topics"] [data-value="topic.tick"]').count()) === 1 ? "" : "no line");
  await until("latencies are shown", async () => {
    const p99 = await value(page, '[data-chart="latency"] [data-value="p99Ms"]');
    return numberIn(p99) > 0 ? "" : p99;
  });
  assert.ok(numberIn(await value(page, '[data-figure="sockets"] .value')) >= 2);
  assert.equal(await value(page, '[data-figure="nats"] .value'), "Connected");
  assert.equal(await value(page, '[data-figure="store"] .value'), "Answers");
  assert.match(await page.locator("table").first().innerText(), /solo\s*leader\s*ready/);

  // Arrow keys read a chart without a pointer.
  const plot = page.locator('[data-chart="outcomes"] .plot');
  await plot.focus();
  await page.keyboard.press("ArrowLeft");
  await until("a moment is shown", async () => (/^\d\d:\d\d:\d\d$/.test(await value(page, '[data-chart="outcomes"] .hint')) ? "" : "no time"));
  // The time shown is in the address.
  await page.getByRole("button", { name: "1m", exact: true }).click();
  assert.match(page.url(), /#\/overview\?span=1m$/);
});

test("a user is found, and the link shows the same to somebody else", async (t) => {
  assert.equal((await send({ userId: "busy", topic: "once" })).status, 200);
  const page = await open(t, "/console");
  await page.locator("[data-health]").waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type("busy");
  await page.keyboard.press("Enter");
  await page.locator("[data-verdict]").waitFor();
  assert.match(page.url(), /#\/users\/busy$/);
  await page.getByPlaceholder("Any topic").fill("once");
  await page.keyboard.press("Enter");
  await page.locator('[data-verdict="pushed"]').waitFor();
  assert.match(page.url(), /#\/users\/busy\?topic=once$/);
  const other = await open(t, new URL(page.url()).pathname + new URL(page.url()).hash);
  await other.locator('[data-verdict="pushed"]').waitFor();
  await until("both sockets, and the messages of this topic, are listed", async () => {
    const sockets = await other.locator('section[aria-label="Sockets"] tbody tr').count();
    const topics = await other.locator('[data-table="messages"] td.title').allInnerTexts();
    const outcomes = await cells(other, "messages", "Outcome");
    return sockets === 2 && topics.length > 0 && topics.every((m) => m === "once") && outcomes.every((o) => /pushed/.test(o)) ? "" : `${sockets} sockets, topics ${topics}, outcomes ${outcomes}`;
  });
  assert.match(await other.locator('section[aria-label="Connections"]').innerText(), /connected/);

  await page.goto(`${url}/console#/users`);
  await page.getByLabel("User id", { exact: true }).fill("bus");
  await until("the list is filtered", async () => {
    const users = await page.locator("tbody td.title").allInnerTexts();
    return users.join() === "busy" ? "" : `users ${users}`;
  });
});

test("a user to whom messages flow is shown, however long an answer takes", async (t) => {
  const page = await open(t, "/console");
  await page.locator("[data-link=connected]").waitFor({ state: "attached" });
  await page.route("**/api/v1/users/busy?*", async (request) => {
    await new Promise((r) => setTimeout(r, 1000)); // many rows of the tail come meanwhile
    await request.continue().catch(() => {}); // the page may not wait for it
  });
  await page.goto(`${url}/console#/users/busy`);
  await page.locator("[data-verdict]").waitFor();
  const newest = async () => (await cells(page, "messages", "Offset"))[0];
  const first = await newest();
  await until("the next answer is shown", async () => ((await newest()) === first ? first : ""));
});

test("a user who never was", async (t) => {
  const page = await open(t, "/console#/users/nobody");
  await page.locator('[data-verdict="never_published"]').waitFor();
  assert.match(await page.locator('section[aria-label="Sockets"]').innerText(), /No page of this user is open/);
});

test("a message is found by its offset", async (t) => {
  const { offset } = await send({ userId: "busy", topic: "found", n: 1 });
  const page = await open(t, "/console#/messages", { allowed: /404.*\/api\/v1\/messages\// });
  await page.getByLabel("Offset", { exact: true }).fill(offset);
  await page.keyboard.press("Enter");
  await until("it is found", async () => {
    if (await page.getByRole("button", { name: "Ask again" }).isVisible()) await page.getByRole("button", { name: "Ask again" }).click(); // its trace is a moment away
    return (await page.locator('[data-verdict="pushed"]').count()) ? "" : "no verdict";
  });
  const text = await page.locator('section[aria-label="Message"]').innerText();
  for (const wanted of ["busy", "found", "codewar.found", offset]) assert.ok(text.includes(wanted), `${wanted} in ${text}`);
  await page.goto(`${url}/console#/messages/1-1`);
  await page.getByText("Nothing is known of it").waitFor();
});

test("the form's receipt arrives", async (t) => {
  const page = await open(t, "/console#/send?user=busy&topic=form");
  await until("the tail of the user runs", async () => ((await cells(page, "tail", "Topic")).includes("tick") ? "" : "no row"));
  await page.getByLabel("Payload").fill("{ nothing");
  const button = page.getByRole("button", { name: "Send", exact: true });
  await button.click();
  await page.getByText("Not JSON").waitFor();
  await page.getByLabel("Payload").fill('{"n": 1.50}');
  await button.click();
  const receipt = page.locator("[data-receipt]");
  await page.locator('[data-receipt="pushed"]').waitFor();
  assert.match(await receipt.innerText(), /Sockets that took it\s*2[\s\S]*\d+-\d+/);
  await until("the tail of the user shows it", async () => ((await cells(page, "tail", "Topic")).includes("form") ? "" : "not there"));
  const [, beside] = await cells(page, "tail", "Offset");
  await until("others have scrolled out", async () => ((await cells(page, "tail", "Offset")).includes(beside) ? `${beside} is there` : ""));
  assert.equal((await cells(page, "tail", "Topic"))[0], "form", "it has scrolled out");

  await page.getByLabel("User", { exact: true }).fill("absent");
  await button.click();
  await page.locator('[data-receipt="offline"]').waitFor();
  await page.getByLabel("Keep it for the next page").check();
  await button.click();
  await page.locator('[data-receipt="inboxed"]').waitFor();
  assert.match(page.url(), /user=absent.*queue=true/);
});

test("the live tail filters, pauses and goes on", async (t) => {
  const page = await open(t, "/console#/live");
  const rows = page.locator('[data-table="tail"] tbody tr');
  await until("rows come", async () => ((await rows.count()) > 5 ? "" : `${await rows.count()} rows`));
  const noise = setInterval(() => {
    send({ userId: "nobody", topic: "other.a" }).catch(() => {});
    send({ userId: "late", topic: "other.b" }, "?queue=true").catch(() => {});
  }, 100);
  t.after(() => clearInterval(noise));
  const only = async (what, label, wanted) => {
    await until(what, async () => {
      const all = await cells(page, "tail", label);
      return all.length >= 3 && all.every((c) => wanted.test(c)) ? "" : `${label}: ${all.slice(0, 8)}`;
    });
  };
  await page.getByLabel("User", { exact: true }).pressSequentially("late", { delay: 300 }); // rows come meanwhile
  await page.keyboard.press("Enter");
  await only("one user's", "User", /^late$/);
  assert.match(page.url(), /#\/live\?user=late$/);
  await page.getByRole("button", { name: "Show all" }).click();
  await page.getByLabel(/^Topic/).fill("other.*");
  await page.keyboard.press("Enter");
  await only("topics that begin so", "Topic", /^other\./);
  await page.getByLabel("Outcome").selectOption("inboxed");
  await only("and one outcome", "Outcome", /inboxed/);
  const other = await open(t, "/console#/live?topic=tick&outcome=pushed");
  await until("a link filters too", async () => {
    const all = await cells(other, "tail", "Topic");
    return all.length > 3 && all.every((c) => c === "tick") ? "" : `topics ${all.slice(0, 5)}`;
  });
  await other.getByRole("button", { name: "Pause" }).click();
  const first = () => other.locator('[data-table="tail"] td[data-label="Offset"]').first().innerText();
  const held = await first();
  await other.getByRole("button", { name: /^Resume \(\d+/ }).waitFor();
  assert.equal(await first(), held, "a row came while paused");
  await other.getByRole("button", { name: /^Resume/ }).click();
  await until("it goes on", async () => ((await first()) === held ? "still the same" : ""));
});

test("warnings, and dead letters with their reason, are listed", async (t) => {
  const page = await open(t, "/console#/errors");
  await until("the message that broke the rules is there", async () => {
    const text = await page.locator('[data-table="dead"]').innerText().catch(() => "no table");
    if (!(await page.locator('[data-list="logs"] li').filter({ hasText: "configuration" }).count())) return "no warning";
    return /INVALID_JSON/.test(text) && /codewar\.poison/.test(text) ? "" : text;
  });
});

test("fits a phone and a desktop, dark and light, and is used by keyboard", async (t) => {
  const views = { overview: "", users: "#/users", user: "#/users/busy", messages: "#/messages", live: "#/live", send: "#/send?user=busy", errors: "#/errors" };
  for (const size of Object.keys(sizes)) {
    for (const colorScheme of ["light", "dark"]) {
      const page = await open(t, "/console", { size, colorScheme });
      await page.locator("[data-link=connected]").waitFor({ state: "attached" });
      for (const [name, hash] of Object.entries(views)) {
        await page.goto(`${url}/console${hash}`);
        await page.getByRole("heading", { level: 1 }).waitFor();
        await page.waitForTimeout(name === "overview" || name === "live" ? 1000 : 400); // for what is loaded
        assert.equal(await sideways(page), 0, `${name} scrolls sideways on a ${size}`);
        await picture(page, `${name}-${size}-${colorScheme}`);
      }
      const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      assert.equal(background === "rgb(12, 14, 18)", colorScheme === "dark", `background ${background}`);
    }
  }
  const page = await open(t, "/console#/users");
  await page.getByRole("heading", { level: 1 }).waitFor();
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent.trim()), "Skip to the content");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  for (const role of ["banner", "navigation", "main", "search"]) assert.ok((await page.getByRole(role).count()) >= 1, `no ${role}`);
  const nameless = await page.evaluate(() => [...document.querySelectorAll("button, a, input, select")].filter((e) => !(e.textContent.trim() || e.ariaLabel || e.labels?.length)).map((e) => e.outerHTML));
  assert.deepEqual(nameless, [], "nameless controls");
  await page.getByRole("button", { name: "Use the dark theme" }).click();
  await page.reload();
  await page.getByRole("button", { name: "Use the light theme" }).waitFor();
});

test("says so when the node is gone", { skip: !process.env.BRIDGE_PID }, async (t) => {
  const page = await open(t, "/console", { allowed: /ERR_|WebSocket|Failed to load/ });
  await page.locator("[data-link=connected]").waitFor();
  process.kill(Number(process.env.BRIDGE_PID), "SIGKILL");
  await page.locator("[data-link=lost]").waitFor();
  await page.getByText("has not been heard of").waitFor();
});

async function picture(page, name) {
  const dir = process.env.PICTURES;
  if (!dir) return;
  mkdirSync(dir, { recursive: true });
  await page.screenshot({ path: `${dir}/${name}.png` });
}
