// Runs each interaction against both services and prints what each did, as JSON lines:
// {"name", "difference", "node", "bridge", "same"}. Run by TestNodeService.
import { overHTTP } from "./interactions_http.mjs";
import { overSockets } from "./interactions_sockets.mjs";
import { Talk } from "./talk.mjs";

const { NODE_URL, BRIDGE_URL, ORIGIN, ONLY } = process.env;

/** covers reports whether b has all that a has. The contract allows further fields. */
function covers(a, b) {
  if (a === null || typeof a !== "object") return Object.is(a, b);
  if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((x, i) => covers(x, b[i]));
  return b !== null && typeof b === "object" && Object.entries(a).every(([key, value]) => covers(value, b[key]));
}

async function act(run, url, number) {
  const talk = new Talk(url, ORIGIN, number);
  try {
    return await run(talk);
  } catch (err) {
    return { failed: err.message };
  } finally {
    talk.close();
  }
}

const all = [...overHTTP.map(([name, ...rest]) => [`HTTP: ${name}`, ...rest]), ...overSockets.map(([name, ...rest]) => [`socket: ${name}`, ...rest])];
const names = new Set();
for (const [number, [name, difference, run]] of all.entries()) {
  if (names.has(name)) throw new Error(`${name} stands twice`);
  names.add(name);
  if (ONLY && !name.includes(ONLY)) continue;
  const [node, bridge] = await Promise.all([act(run, NODE_URL, number), act(run, BRIDGE_URL, number)]);
  console.log(JSON.stringify({ name, difference, node, bridge, same: covers(node, bridge) }));
}
process.exit(0);
