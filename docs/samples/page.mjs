// A page that misses nothing: npm install socket.io-client. In a browser leave the last lines out.
import { io } from "socket.io-client";

// The store of your application: what was received, and up to where.
const state = { offset: undefined, verdicts: [] };

// With auth.mode jwt: freshToken() asks your own server. Without: no `auth` at all.
const freshToken = globalThis.freshToken;

export function connect(url, user, onVerdict) {
  const socket = io(url, {
    // A function, so that a reconnect brings a token that is still valid.
    auth: freshToken ? async (done) => done({ token: await freshToken() }) : undefined,
  });

  socket.on("connect", () => {
    // After every connect, recovered or not: it does no harm, and a fresh session needs it. `after` is for
    // a page that knows where it is, from its own HTML or from before it was reloaded.
    const options = state.offset && !socket.recovered ? { after: state.offset } : {};
    socket.emit("setUserId", user, options, (answer) => {
      if (!answer.ok) return onVerdict({ problem: answer.code });
      state.offset ??= answer.offset;
    });
  });

  // The last argument is the offset. The client remembers it too, and resumes by it.
  socket.on("evaluationComplete", (data, offset) => {
    state.offset = offset;
    state.verdicts.push(data);
    onVerdict(data);
  });

  // A message whose sender wants to know that it was seen (?ack=client) has one argument more, a function.
  socket.on("customRunComplete", (data, ...more) => {
    onVerdict(data);
    if (typeof more.at(-1) === "function") more.at(-1)();
  });

  socket.on("error", ({ type, message }) => {
    if (type === "HISTORY_GAP") reload(); // more was missed than is kept
    else onVerdict({ problem: type, message });
  });

  // Only with auth.mode jwt.
  socket.on("auth:expiring", async () => {
    socket.emit("refreshToken", await freshToken(), (answer) => answer.ok || onVerdict({ problem: answer.code }));
  });
  socket.on("connect_error", (err) => onVerdict({ problem: err.data?.code ?? err.message })); // it tries again by itself

  // The one end after which the client does not try again by itself.
  socket.on("disconnect", (reason) => {
    if (reason === "io server disconnect") setTimeout(() => socket.connect(), 1000);
  });
  return socket;
}

// reload asks your own server for the state of everything, which the messages only kept up to date.
function reload() {
  state.verdicts = [];
}

if (globalThis.process?.argv[2]) {
  const [url, user] = process.argv.slice(2);
  const socket = connect(url, user, (v) => console.log(JSON.stringify(v)));
  process.stdin.on("end", () => socket.disconnect()).resume();
}
