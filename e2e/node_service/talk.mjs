// What the interactions are made of: requests as they are, and stock clients. One Talk is
// one service; each interaction has users of its own.
import { request } from "node:http";
import { io } from "socket.io-client";

/** fetchRaw sends a request byte by byte as it is given, and reads its answer. */
export function fetchRaw(url, { method = "POST", path = "/sendPayload", headers = {}, body } = {}) {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const req = request({ hostname, port, method, path, headers, agent: false, timeout: 10_000 }, (res) => {
      const parts = [];
      res.on("data", (part) => parts.push(part));
      res.on("end", () => {
        const text = Buffer.concat(parts).toString();
        let json;
        if (text && /json/.test(res.headers["content-type"] ?? "")) json = JSON.parse(text);
        resolve({ status: res.statusCode, headers: res.headers, text, json });
      });
    });
    req.on("error", reject);
    req.on("timeout", () => req.destroy(new Error("no answer in time")));
    if (headers.Expect) {
      req.on("continue", () => req.end(body));
      req.flushHeaders();
    } else {
      req.end(body);
    }
  });
}

export class Talk {
  constructor(url, origin, number) {
    Object.assign(this, { url, origin, number, sockets: [], names: new Map() });
  }

  /** user is a name that no other interaction uses. */
  user(name = "u") {
    return `${name}${this.number}`;
  }

  /** client is a connected stock client that keeps what it receives. */
  async client(options = {}, path = "") {
    const socket = io(this.url + path, { transports: ["websocket"], reconnectionDelay: 50, reconnectionDelayMax: 50, forceNew: true, ...options });
    this.sockets.push(socket);
    socket.got = [];
    socket.onAny((topic, ...args) => {
      if (topic !== "bridge:offset") socket.got.push([topic, args[0]]); // offsets have interactions of their own
    });
    await new Promise((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("connect_error", reject);
    });
    this.names.set(socket.id, `socket ${this.names.size + 1}`);
    return socket;
  }

  /** mapped is a client of a user. */
  async mapped(user = this.user(), options = {}) {
    const socket = await this.client(options);
    await socket.timeout(5000).emitWithAck("setUserId", user);
    return socket;
  }

  /** post sends a body, an object or a text, to /sendPayload. */
  post(body, more = {}) {
    const { headers, ...rest } = more;
    const text = typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    const length = text === undefined ? {} : { "Content-Length": Buffer.byteLength(text) };
    return fetchRaw(this.url, { headers: { "Content-Type": "application/json", ...length, ...headers }, body: text, ...rest });
  }

  /** settled waits until everything that was sent to a socket before has come: answers of
   * the service itself come after it, and messages keep their order. */
  async settled(socket, user) {
    await socket.timeout(5000).emitWithAck("getConnectionId", user ?? this.user()).catch(() => {});
    const { status } = await this.post({ userId: user ?? this.user(), topic: "settled" });
    for (const until = Date.now() + 2000; status === 200 && Date.now() < until && !socket.got.some(([topic]) => topic === "settled"); ) await new Promise((r) => setTimeout(r, 2));
    return socket.got.filter(([topic]) => topic !== "settled" && topic !== "connectionId");
  }

  /** name puts a name in place of a socket's id. */
  name(id) {
    return this.names.get(id) ?? id;
  }

  close() {
    for (const socket of this.sockets) socket.disconnect();
  }
}
