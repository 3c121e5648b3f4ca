// Runs stock socket.io-client pages for the Go tests. Commands come as JSON lines
// on stdin, what the pages see goes out as JSON lines on stdout. A payload is
// reported as the text that came over the wire, so that tests can compare bytes.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const pages = new Map();
const tell = (message) => process.stdout.write(JSON.stringify(message) + "\n");

const commands = {
  open({ page, url, options }) {
    const socket = io(url, { forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 200, timeout: 5000, ...options });
    pages.set(page, socket);
    let texts = []; // of the packets whose events come next
    socket.io.on("open", () => {
      texts = [];
      socket.io.engine.on("data", (data) => {
        if (typeof data === "string" && data.startsWith("2[")) texts.push(data.slice(1));
      });
    });
    socket.on("connect", () => tell({ page, kind: "connect", id: socket.id, recovered: socket.recovered, transport: socket.io.engine.transport.name }));
    socket.on("disconnect", (reason) => tell({ page, kind: "disconnect", reason }));
    socket.on("connect_error", (error) => tell({ page, kind: "connect_error", reason: error.message, data: error.data }));
    socket.onAny((event, ...args) => tell({ page, kind: "event", event, args, text: texts.shift() }));
  },
  emit({ page, call, event, args }) {
    pages.get(page).timeout(20_000).emit(event, ...args, (error, ...answer) => tell({ page, kind: "ack", call, answer, reason: error?.message }));
  },
  // Cuts the connection as a network would; the client reconnects by itself.
  cut({ page }) {
    const { transport } = pages.get(page).io.engine;
    if (transport.ws) transport.ws.terminate();
    else pages.get(page).io.engine.close();
  },
  close({ page }) {
    pages.get(page)?.disconnect();
    pages.delete(page);
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  commands[command.do](command);
}
process.exit(0);
