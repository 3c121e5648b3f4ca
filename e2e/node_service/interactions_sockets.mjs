// Interactions of stock clients. The form is that of interactions_http.mjs.
import { fetchRaw } from "./talk.mjs";

const status = async (talk, user = talk.user(), topic = "t") => (await talk.post({ userId: user, topic })).status;
const answered = (answer) => (answer?.ok === true ? { ok: true } : { error: typeof answer?.error === "string", code: answer?.code !== undefined });
const call = (socket, ...args) => socket.timeout(2000).emitWithAck(...args);

/** raw asks the endpoint of Socket.IO itself. */
const raw = (name, query, more = {}) => [name, undefined, async (talk) => {
  const { status: code, json } = await fetchRaw(talk.url, { method: "GET", path: `/socket.io/${query}`, ...more });
  return { status: code, ...(json && { code: json.code, message: json.message }) };
}];

const mapping = [
  ["setUserId", undefined, async (talk) => {
    const socket = await talk.client();
    return { answer: answered(await call(socket, "setUserId", talk.user())), status: await status(talk), got: await talk.settled(socket) };
  }],
  ["setUserId without an acknowledgement", undefined, async (talk) => {
    const socket = await talk.client();
    socket.emit("setUserId", talk.user());
    await call(socket, "getConnectionId", talk.user());
    return { status: await status(talk), got: await talk.settled(socket) };
  }],
  ["setUserId of nothing", undefined, async (talk) => answered(await call(await talk.client(), "setUserId"))],
  ["setUserId of an empty text", undefined, async (talk) => answered(await call(await talk.client(), "setUserId", ""))],
  ["setUserId of null", undefined, async (talk) => answered(await call(await talk.client(), "setUserId", null))],
  ["setUserId of an object", "user-type", async (talk) => answered(await call(await talk.client(), "setUserId", { id: talk.user() }))],
  ["setUserId of true", "user-type", async (talk) => answered(await call(await talk.client(), "setUserId", true))],
  ["setUserId twice, the same", undefined, async (talk) => {
    const socket = await talk.mapped();
    await call(socket, "setUserId", talk.user());
    return { status: await status(talk), got: await talk.settled(socket) };
  }],
  ["setUserId of another user: the new one", undefined, async (talk) => {
    const socket = await talk.mapped(talk.user("a"));
    await call(socket, "setUserId", talk.user("b"));
    return { status: await status(talk, talk.user("b")), got: await talk.settled(socket, talk.user("b")) };
  }],
  ["setUserId of another user: the old one", "set-twice", async (talk) => {
    const socket = await talk.mapped(talk.user("a"));
    await call(socket, "setUserId", talk.user("b"));
    return { status: await status(talk, talk.user("a")), got: await talk.settled(socket, talk.user("b")) };
  }],
  ["a user who has left", undefined, async (talk) => {
    const [socket, other] = [await talk.mapped(), await talk.client()];
    socket.disconnect();
    for (const until = Date.now() + 3000; Date.now() < until && (await call(other, "getConnectionId", talk.user())) !== null; );
    return { status: await status(talk) };
  }],
  ["another user gets nothing", undefined, async (talk) => {
    const [a, b] = [await talk.mapped(talk.user("a")), await talk.mapped(talk.user("b"))];
    const code = await status(talk, talk.user("a"));
    return { status: code, a: await talk.settled(a, talk.user("a")), b: await talk.settled(b, talk.user("b")) };
  }],
  ["disconnect, connect, setUserId of another user", undefined, async (talk) => {
    const socket = await talk.mapped(talk.user("a"));
    socket.disconnect();
    socket.connect();
    await new Promise((connected) => socket.once("connect", connected));
    await call(socket, "setUserId", talk.user("b"));
    return { status: await status(talk, talk.user("b")), got: await talk.settled(socket, talk.user("b")) };
  }],
  ["lost and connected again, before setUserId", "resume", async (talk) => {
    const [socket, other] = [await talk.mapped(), await talk.client()];
    const first = socket.id;
    const again = new Promise((connected) => socket.io.once("reconnect", connected));
    socket.io.engine.close();
    await again;
    if (!socket.connected) await new Promise((connected) => socket.once("connect", connected));
    for (const until = Date.now() + 3000; Date.now() < until && (await call(other, "getConnectionId", talk.user())) === first && !socket.recovered; );
    return { recovered: socket.recovered, status: await status(talk) };
  }],
  ["lost and connected again, after setUserId", undefined, async (talk) => {
    const socket = await talk.mapped();
    const again = new Promise((connected) => socket.io.once("reconnect", connected));
    socket.io.engine.close();
    await again;
    if (!socket.connected) await new Promise((connected) => socket.once("connect", connected));
    await call(socket, "setUserId", talk.user());
    return { status: await status(talk), got: await talk.settled(socket) };
  }],
];

const tabs = [
  ["two tabs: the newest", undefined, async (talk) => {
    await talk.mapped();
    const b = await talk.mapped();
    return { status: await status(talk), got: await talk.settled(b) };
  }],
  ["two tabs: the older", "tabs", async (talk) => {
    const a = await talk.mapped();
    const b = await talk.mapped();
    const code = await status(talk);
    await talk.settled(b);
    return { status: code, got: a.got.filter(([topic]) => topic === "t") };
  }],
  ["two tabs: the newest leaves", "tabs", async (talk) => {
    const a = await talk.mapped();
    const b = await talk.mapped();
    const gone = b.id;
    b.disconnect();
    for (const until = Date.now() + 3000; Date.now() < until && (await call(a, "getConnectionId", talk.user())) === gone; );
    return { status: await status(talk) };
  }],
  ["two tabs: the older leaves", undefined, async (talk) => {
    const [a, b] = [await talk.mapped(), await talk.mapped()];
    a.disconnect();
    return { status: await status(talk), got: await talk.settled(b) };
  }],
];

const ids = [
  ["getConnectionId of oneself", undefined, async (talk) => {
    const socket = await talk.mapped();
    const answer = await call(socket, "getConnectionId", talk.user());
    return { answer: talk.name(answer), events: socket.got.filter(([topic]) => topic === "connectionId").map(([, id]) => talk.name(id)) };
  }],
  ["getConnectionId of another", undefined, async (talk) => {
    const [asks, other] = [await talk.client(), await talk.mapped(talk.user("other"))];
    return { same: (await call(asks, "getConnectionId", talk.user("other"))) === other.id };
  }],
  ["getConnectionId without an acknowledgement", undefined, async (talk) => {
    const socket = await talk.mapped();
    const event = new Promise((resolve) => socket.once("connectionId", resolve));
    socket.emit("getConnectionId", talk.user());
    return { id: talk.name(await event) };
  }],
  ...[["of nobody", "nobody"], ["of null", null], ["of a number", 7_000_000]].map(([name, user]) => [`getConnectionId ${name}`, undefined, async (talk) => {
    const socket = await talk.client();
    return { answer: await call(socket, "getConnectionId", user), events: socket.got };
  }]),
  ["getConnectionId of nothing", undefined, async (talk) => {
    const socket = await talk.client();
    return { answer: await call(socket, "getConnectionId"), events: socket.got };
  }],
  ["getConnectionId of an object", "user-type", async (talk) => {
    const answer = await call(await talk.client(), "getConnectionId", {});
    return { answer: answer === null ? null : answered(answer) };
  }],
  ["getConnectionId with two tabs", undefined, async (talk) => {
    await talk.mapped();
    const b = await talk.mapped();
    return { newest: (await call(b, "getConnectionId", talk.user())) === b.id };
  }],
];

const transports = [["polling"], ["websocket"], ["polling", "websocket"]].flatMap((list) => [
  [`by ${list.join(", then ")}`, undefined, async (talk) => {
    const socket = await talk.mapped(talk.user(), { transports: list });
    return { status: await status(talk), got: await talk.settled(socket) };
  }],
  [`twenty messages in order by ${list.join(", then ")}`, undefined, async (talk) => {
    const socket = await talk.mapped(talk.user(), { transports: list });
    for (let n = 0; n < 20; n++) await talk.post({ userId: talk.user(), topic: "t", n });
    return { got: (await talk.settled(socket)).map(([, { n }]) => n) };
  }],
]);

const wire = [
  ["twenty messages at once", undefined, async (talk) => {
    const socket = await talk.mapped();
    const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => talk.post({ userId: talk.user(), topic: "t", n })));
    return { statuses: answers.map((a) => a.status), got: (await talk.settled(socket)).map(([, { n }]) => n).sort((a, b) => a - b) };
  }],
  ["arguments of an event", "offset", async (talk) => {
    const socket = await talk.mapped();
    const args = new Promise((resolve) => socket.once("t", (...all) => resolve(all.length)));
    await talk.post({ userId: talk.user(), topic: "t" });
    return { arguments: await args };
  }],
  ["arguments of an event, resume declined", undefined, async (talk) => {
    const socket = await talk.mapped(talk.user(), { auth: { resume: false } });
    const args = new Promise((resolve) => socket.once("t", (...all) => resolve(all.length)));
    await talk.post({ userId: talk.user(), topic: "t" });
    return { arguments: await args };
  }],
  ["auth that nobody asks for", undefined, async (talk) => {
    const socket = await talk.mapped(talk.user(), { auth: { token: "x", n: 1 } });
    return { status: await status(talk), got: await talk.settled(socket) };
  }],
  ["a binary argument", "binary", async (talk) => {
    const socket = await talk.mapped();
    socket.emit("upload", Buffer.from([1, 2, 3]));
    const got = await talk.settled(socket);
    return { connected: socket.connected, errors: got.filter(([topic]) => topic === "error").length };
  }],
  ["an unknown event", "unknown-event", async (talk) => {
    const socket = await talk.mapped();
    socket.emit("subscribe", "x");
    const got = await talk.settled(socket);
    return { connected: socket.connected, errors: got.filter(([topic]) => topic === "error").map(([, { type }]) => type) };
  }],
  ["an unknown event with an acknowledgement", "unknown-event", async (talk) => {
    const socket = await talk.mapped();
    return { answer: await socket.timeout(300).emitWithAck("subscribe", "x").then(answered, () => "none") };
  }],
  ["an unknown namespace", undefined, async (talk) => talk.client({}, "/admin").then(() => "connected", (err) => err.message)],
  ["a page of another origin, websocket", "foreign-origin", async (talk) => talk.client({ extraHeaders: { Origin: "https://evil.example" }, reconnection: false }).then(() => "connected", () => "refused")],
  ["a page of another origin, polling", "foreign-origin", async (talk) =>
    talk.client({ transports: ["polling"], extraHeaders: { Origin: "https://evil.example" }, reconnection: false }).then(() => "connected", () => "refused")],
  ["an allowed page", undefined, async (talk) => talk.client({ extraHeaders: { Origin: talk.origin } }).then(() => "connected", () => "refused")],
  ["a page of the service's own address", undefined, async (talk) => talk.client({ extraHeaders: { Origin: talk.url } }).then(() => "connected", () => "refused")],
  raw("an older protocol", "?EIO=3&transport=polling"),
  raw("an unknown transport", "?EIO=4&transport=carrier"),
  raw("an unknown session", "?EIO=4&transport=polling&sid=nothing"),
  raw("a POST as handshake", "?EIO=4&transport=polling", { method: "POST", body: "x" }),
  ["the client's script", undefined, async (talk) => {
    const { status: code, headers } = await fetchRaw(talk.url, { method: "GET", path: "/socket.io/socket.io.js" });
    return { status: code, type: headers["content-type"].split(";")[0] };
  }],
];

export const overSockets = [...mapping, ...tabs, ...ids, ...transports, ...wire];
