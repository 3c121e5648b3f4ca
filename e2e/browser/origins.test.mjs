// Pages of several origins send to a bridge in Chromium. Run by TestPagesSend in
// ../console_test.go, which makes the first page's address the only one of `origins`.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { io } from "socket.io-client";
import { close, launch, until, url } from "./chromium.mjs";

const friend = Number(process.env.FRIEND_PORT);
const servers = [];
const got = [];
let socket;

/** host serves an empty page on 127.0.0.1, and its address is an origin of its own. */
async function host(port) {
  const server = createServer((_, answer) => answer.writeHead(200, { "Content-Type": "text/html" }).end("<!doctype html><title>page</title>"));
  servers.push(server);
  await new Promise((listening) => server.listen(port, "127.0.0.1", listening));
  return `http://127.0.0.1:${server.address().port}`;
}

before(async () => {
  socket = io(url, { transports: ["websocket"] });
  socket.onAny((topic, data) => got.push(data));
  await new Promise((connected) => socket.on("connect", connected));
  await socket.timeout(5000).emitWithAck("setUserId", "victim");
});

after(async () => {
  socket.close();
  await close();
  for (const server of servers) server.close();
});

/** post sends from a page in the ways that need no preflight, and one that does. */
async function post(address, mark) {
  const context = await (await launch()).newContext();
  try {
    const page = await context.newPage();
    await page.goto(address);
    return await page.evaluate(
      async ({ to, mark }) => {
        const body = (how) => JSON.stringify({ userId: "victim", topic: "t", mark, how });
        const statuses = {};
        const tries = {
          blob: { mode: "no-cors", body: new Blob([body("blob")]) },
          bytes: { mode: "no-cors", body: new TextEncoder().encode(body("bytes")) },
          text: { mode: "no-cors", body: body("text") },
          cookies: { mode: "no-cors", credentials: "include", body: new Blob([body("cookies")]) },
          cors: { body: new Blob([body("cors")]) },
          json: { headers: { "Content-Type": "application/json" }, body: body("json") },
        };
        for (const [how, init] of Object.entries(tries)) {
          statuses[how] = await fetch(to, { method: "POST", ...init }).then((answer) => answer.status, () => "refused");
        }
        navigator.sendBeacon(to, new Blob([body("beacon")]));
        await fetch(to.replace("sendPayload", "livez"), { mode: "no-cors" }); // behind the beacon
        return statuses;
      },
      { to: `${url}/sendPayload`, mark },
    );
  } finally {
    await context.close();
  }
}

test("a page of another origin sends nothing", async () => {
  const statuses = await post(await host(0), "foreign");
  assert.equal(statuses.cors, "refused");
  assert.equal(statuses.json, "refused");
});

test("a page of an allowed origin sends", async () => {
  const statuses = await post(await host(friend), "friend");
  assert.equal(statuses.cors, 200);
  assert.equal(statuses.json, 200);
});

test("a page of the bridge itself sends", async () => {
  const statuses = await post(`${url}/livez`, "own");
  assert.equal(statuses.cors, 200);
  assert.equal(statuses.json, 200);
});

test("nothing of the foreign page has arrived", async () => {
  await until("the beacon of the last page came", () => (got.some((data) => data.mark === "own" && data.how === "beacon") ? "" : JSON.stringify(got)));
  assert.deepEqual(got.filter((data) => data.mark === "foreign"), []);
  assert.ok(got.some((data) => data.mark === "friend" && data.how === "blob"), "the friend's Blob has arrived");
});
