// Interactions of HTTP callers. Each is [name, difference, run]: the difference is the key
// of its row in docs/migration.md, undefined where both services must do the same.
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from "node:zlib";
import { fetchRaw } from "./talk.mjs";

/** seen is what a caller sees of an answer. */
const seen = ({ status, json }) => ({ status, ...(json && { json: plain(json) }) });

/** plain leaves out what differs from call to call. */
function plain(json) {
  const { timestamp, ...rest } = json;
  return timestamp === undefined ? rest : { ...rest, timestamp: !Number.isNaN(Date.parse(timestamp)) };
}

/** sending posts a body to a user who is there, and shows what the user's socket got. */
function sending(name, difference, body, more = {}) {
  const run = async (talk) => {
    const user = talk.user();
    const socket = await talk.mapped(more.mapAs ?? user);
    const given = typeof body === "function" ? body(user) : { userId: user, topic: "t", ...body };
    const { mapAs, ...request } = more;
    const answer = await talk.post(given, request);
    return { ...seen(answer), got: JSON.stringify(await talk.settled(socket, user)) };
  };
  return [name, difference, run];
}

const text = (user, rest) => `{"userId":"${user}","topic":"t"${rest}}`;

/** coded posts a small body in a coding. */
const coded = (name, difference, coding, pack) =>
  sending(`Content-Encoding: ${name}`, difference, (user) => pack(Buffer.from(text(user, ',"a":1'))), { headers: { "Content-Encoding": coding } });

/** typed posts a small body with a Content-Type. */
const typed = (type, difference, body = (user) => text(user, ',"a":1')) => sending(`Content-Type: ${type ?? "none"}`, difference, body, { headers: { "Content-Type": type } });

/** asking sends a request that names no user of a socket. */
const asking = (name, difference, request, look = seen) => [name, difference, async (talk) => look(await fetchRaw(talk.url, typeof request === "function" ? request(talk) : request), talk)];

const json = { "Content-Type": "application/json" };
const cors = ({ status, headers }) => ({
  status,
  origin: headers["access-control-allow-origin"],
  credentials: headers["access-control-allow-credentials"],
  methods: headers["access-control-allow-methods"],
  headers: headers["access-control-allow-headers"],
});

const payloads = [
  sending("submissionUpdate", undefined, { topic: "submissionUpdate", submissionId: "sub_123", status: "IN_PROGRESS", testCase: 3, totalTestCases: 10 }),
  sending("evaluationComplete", undefined, {
    topic: "evaluationComplete", submissionId: "s", status: "ACCEPTED",
    result: { testCasesPassed: 10, totalTestCases: 10, executionTime: "120ms", memoryUsed: "25MB" },
  }),
  sending("customRunComplete", undefined, { topic: "customRunComplete", runId: "run_456", output: "x\n", stderr: "", exitCode: 0, executionTime: "50ms" }),
  sending("error as a topic", undefined, { topic: "error", type: "EVALUATION_ERROR", message: "Code execution failed", details: { a: 1 } }),
  sending("only address and topic", undefined, {}),
  sending("userIds and room beside userId are payload", undefined, { userIds: ["a", "b"], room: "contest:42" }),
  sending("a field named payload", undefined, { payload: { userId: "x", topic: "y" } }),
  sending("fields named as in packets", undefined, { type: 2, nsp: "/", id: 1, data: [] }),
  sending("an empty key", undefined, { "": 1 }),
  sending("null, booleans and nesting", undefined, { a: null, b: [true, false, [[], {}]], c: { d: { e: [1, "2"] } } }),
  sending("unicode", undefined, { a: "Zoë 漢字 🚀 \u2028 \u0000", "ключ": "é" }),
  sending("escapes", undefined, (user) => text(user, ',"a":"\\u00e9\\/\\n\\ud83d\\ude80"')),
  sending("a lone surrogate", undefined, (user) => text(user, ',"a":"\\ud800"')),
  sending("key order", undefined, (user) => `{"z":1,"userId":"${user}","a":2,"topic":"t","m":3}`),
  sending("keys that are numbers", undefined, { 2: "b", 1: "a", x: 0 }),
  sending("spelling of numbers", undefined, (user) => text(user, ',"a":1.50,"b":1e3,"c":-0,"d":0.1')),
  sending("a number beyond 53 bits", undefined, (user) => text(user, ',"a":12345678901234567890')),
  sending("__proto__ as a key", undefined, (user) => text(user, ',"__proto__":{"a":1}')),
  sending("white space around everything", undefined, (user) => ` \r\n\t{ "userId" : "${user}" , "topic" : "t" , "a" : 1 } \n`),
  sending("a key twice, inside", undefined, (user) => text(user, ',"a":{"b":1,"b":2}')),
  sending("a key twice", "duplicate-key", (user) => text(user, ',"a":1,"a":2')),
  sending("topic twice", "duplicate-key", (user) => text(user, ',"topic":"s"')),
  sending("200 levels of nesting", undefined, (user) => text(user, `,"a":${"[".repeat(200)}${"]".repeat(200)}`)),
  sending("600 levels of nesting", "depth", (user) => text(user, `,"a":${"[".repeat(600)}${"]".repeat(600)}`)),
  sending("900,000 bytes", undefined, { a: "x".repeat(900_000) }),
  sending("more than 1 MiB", undefined, { a: "x".repeat(1 << 20) }),
];

const addresses = [
  sending("a number as user", undefined, (user) => `{"userId":${user},"topic":"t"}`, { mapAs: undefined }),
  ["a number, mapped as a number", undefined, async (talk) => {
    const user = 1_000_000 + talk.number;
    const socket = await talk.mapped(user);
    return { ...seen(await talk.post({ userId: user, topic: "t" })), got: await talk.settled(socket, user) };
  }],
  ["a number, mapped as its text", undefined, async (talk) => {
    const user = 1_000_000 + talk.number;
    const socket = await talk.mapped(String(user));
    return { ...seen(await talk.post({ userId: user, topic: "t" })), got: await talk.settled(socket, user) };
  }],
  ["a text, mapped as a number", undefined, async (talk) => {
    const user = 1_000_000 + talk.number;
    const socket = await talk.mapped(user);
    return { ...seen(await talk.post({ userId: String(user), topic: "t" })), got: await talk.settled(socket, user) };
  }],
  ["a number with a fraction of zero", undefined, async (talk) => {
    const user = 1_000_000 + talk.number;
    const socket = await talk.mapped(user);
    return { ...seen(await talk.post(`{"userId":${user}.0,"topic":"t"}`)), got: await talk.settled(socket, user) };
  }],
  ["the number 0 as user", "user-zero", async (talk) => {
    await talk.mapped(0);
    return seen(await talk.post({ userId: 0, topic: "t" }));
  }],
  ["the text 0 as user", undefined, async (talk) => {
    await talk.mapped("0");
    const { status, json: answer } = await talk.post({ userId: "0", topic: "t" });
    return { status, message: answer.message };
  }],
  sending("no user", undefined, () => '{"topic":"t"}'),
  sending("an empty user", undefined, () => '{"userId":"","topic":"t"}'),
  sending("null as user", undefined, () => '{"userId":null,"topic":"t"}'),
  sending("false as user", "user-type", () => '{"userId":false,"topic":"t"}'),
  sending("true as user", "user-type", () => '{"userId":true,"topic":"t"}'),
  sending("an object as user", "user-type", () => '{"userId":{},"topic":"t"}'),
  sending("a list of one as user", "user-type", (user) => `{"userId":["${user}"],"topic":"t"}`),
  sending("a user of spaces and other alphabets", undefined, (user) => ({ userId: `Zoë 漢字 ${user}`, topic: "t" })),
  sending("a user of 129 characters", "user-rule", () => ({ userId: "x".repeat(129), topic: "t" })),
  sending("a user with a line end", "user-rule", () => ({ userId: "a\nb", topic: "t" })),
  sending("a user who is away", undefined, (user) => ({ userId: `away-${user}`, topic: "t" })),
  sending("a user named as a property", undefined, () => ({ userId: "__proto__", topic: "t" })),
  sending("no topic", undefined, (user) => `{"userId":"${user}"}`),
  sending("an empty topic", undefined, { topic: "" }),
  sending("null as topic", undefined, { topic: null }),
  sending("false as topic", "topic-type", { topic: false }),
  sending("a number as topic", "topic-type", { topic: 7 }),
  sending("a topic of all characters", undefined, { topic: "a.b:c-d_E9" }),
  sending("a topic of 128 characters", undefined, { topic: "x".repeat(128) }),
  sending("a topic of 129 characters", "topic-rule", { topic: "x".repeat(129) }),
  sending("a topic with a space", "topic-rule", { topic: "submission update" }),
  sending("a topic with a slash", "topic-rule", { topic: "a/b" }),
  sending("a topic of another alphabet", "topic-rule", { topic: "é" }),
  sending("a topic that begins with a dot", "topic-rule", { topic: ".a" }),
  ...["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"].map((topic) => sending(`the topic ${topic}`, "topic-reserved", { topic })),
];

const bodies = [
  ["a list", "[]"], ["a list of objects", '[{"userId":"u","topic":"t"}]'], ["a text", '"hello"'], ["null", "null"], ["a number", "42"], ["nothing", ""],
  ["an open brace", "{"], ["a comma at the end", '{"userId":"u","topic":"t",}'], ["single quotes", "{'userId':'u','topic':'t'}"], ["NaN", '{"userId":"u","topic":"t","a":NaN}'],
  ["something behind it", '{"userId":"u","topic":"t"}x'], ["two objects", '{"userId":"u","topic":"t"}{}'], ["a line end in a text", '{"userId":"u","topic":"a\nb"}'],
].map(([name, body]) => sending(`a body of ${name}`, undefined, () => body));

bodies.push(
  sending("a byte order mark", undefined, (user) => `\ufeff${text(user, ',"a":1')}`),
  sending("bytes that are not UTF-8", "invalid-utf8", (user) => Buffer.concat([Buffer.from(`{"userId":"${user}","topic":"t","a":"`), Buffer.from([0xff]), Buffer.from('"}')])),
);

const types = [
  typed("application/json; charset=utf-8"), typed('application/json; charset="UTF-8"'), typed("Application/JSON"), typed("application/json; v=1"),
  typed("application/json; charset=iso-8859-1"),
  typed("application/json; charset=utf-16", "charset", (user) => Buffer.from(text(user, ""), "utf16le")),
  sending("Content-Type: none", "content-type-missing", (user) => Buffer.from(text(user, "")), { headers: { "Content-Type": [] } }),
  typed("application/vnd.api+json", "json-types"),
  typed("text/plain", "content-type"), typed("application/x-www-form-urlencoded", "content-type", (user) => `userId=${user}&topic=t`), typed("multipart/form-data; boundary=x", "content-type"),
  coded("gzip", undefined, "gzip", gzipSync), coded("GZIP", undefined, "GZIP", gzipSync), coded("deflate", undefined, "deflate", deflateSync),
  coded("deflate without its header", undefined, "deflate", deflateRawSync), coded("identity", undefined, "identity", (body) => body),
  coded("br", undefined, "br", brotliCompressSync), coded("gzip, gzip", undefined, "gzip, gzip", (body) => gzipSync(gzipSync(body))), coded("compress", undefined, "compress", (body) => body),
  coded("gzip, and it is not", undefined, "gzip", (body) => body), coded("gzip, cut off", undefined, "gzip", (body) => gzipSync(body).subarray(0, -9)),
  sending("Content-Encoding: gzip, large when decoded", undefined, (user) => gzipSync(text(user, `,"a":"${"x".repeat(2 << 20)}"`)), { headers: { "Content-Encoding": "gzip" } }),
];

const routes = [
  sending("GET with a body", undefined, { a: 1 }, { method: "GET" }),
  asking("GET without a body", undefined, { method: "GET" }),
  ...["PUT", "DELETE", "PATCH"].map((method) => sending(method, "other-methods", { a: 1 }, { method })),
  asking("HEAD", "other-methods", { method: "HEAD" }),
  ...["/sendPayload/", "/SendPayload", "/SENDPAYLOAD/", "/sendPayload?x=1"].map((path) => sending(`POST ${path}`, undefined, { a: 1 }, { path })),
  ...["/sendPayload//", "//sendPayload", "/send%50ayload", "/sendPayloads", "/sendPayload/x"].map((path) => asking(`POST ${path}`, undefined, { path, headers: json, body: '{"userId":"u","topic":"t"}' })),
  asking("an unknown route", undefined, { method: "GET", path: "/nothing" }),
  asking("the body of an unknown route", "error-format", { method: "GET", path: "/nothing" }, ({ headers }) => ({ type: headers["content-type"].split(";")[0] })),
  asking("/", undefined, { method: "GET", path: "/" }),
  sending("X-HTTP-Method-Override", undefined, { a: 1 }, { headers: { "X-HTTP-Method-Override": "DELETE" } }),
  sending("Expect: 100-continue", undefined, { a: 1 }, { headers: { Expect: "100-continue" } }),
  sending("chunks", undefined, { a: 1 }, { headers: { "Content-Length": [], "Transfer-Encoding": "chunked" } }),
  asking("the type of an answer", undefined, { headers: json, body: '{"userId":"nobody","topic":"t"}' }, ({ headers }) => ({ type: headers["content-type"].split(";")[0] })),
  asking("ETag of an answer", "express-headers", { headers: json, body: "{}" }, ({ headers }) => ({ etag: "etag" in headers })),
  asking("X-Powered-By of an answer", "express-headers", { headers: json, body: "{}" }, ({ headers }) => ({ powered: "x-powered-by" in headers })),
];

const preflight = (origin) => ({ method: "OPTIONS", headers: { Origin: origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type" } });

const origins = [
  asking("preflight of an allowed page", undefined, (talk) => preflight(talk.origin), cors),
  asking("preflight of another page", undefined, preflight("https://evil.example"), (answer) => ({ origin: cors(answer).origin })),
  asking("OPTIONS without an Origin", undefined, { method: "OPTIONS" }, ({ status }) => ({ status })),
  sending("a page of another origin", "foreign-origin", { a: 1 }, { headers: { Origin: "https://evil.example" } }),
  ["an allowed page", undefined, async (talk) => {
    const socket = await talk.mapped();
    const answer = await talk.post({ userId: talk.user(), topic: "t" }, { headers: { Origin: talk.origin } });
    return { ...seen(answer), origin: cors(answer).origin, credentials: cors(answer).credentials, got: await talk.settled(socket) };
  }],
  ["a page of the service's own address", undefined, async (talk) => {
    const socket = await talk.mapped();
    return { ...seen(await talk.post({ userId: talk.user(), topic: "t" }, { headers: { Origin: talk.url } })), got: await talk.settled(socket) };
  }],
  ...["?queue=maybe", "?ack=server"].map((query) => sending(`POST ${query}`, "options", { a: 1 }, { path: `/sendPayload${query}` })),
  ["?queue=true for a user who is away", "options", async (talk) => seen(await talk.post({ userId: talk.user(), topic: "t" }, { path: "/sendPayload?queue=true" }))],
];

export const overHTTP = [...payloads, ...addresses.slice(1), ...bodies, ...types, ...routes, ...origins];
