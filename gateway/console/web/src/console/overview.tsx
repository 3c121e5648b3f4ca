import { useEffect } from "preact/hooks";
import { bytes, count, millis, none, plural, rate, span } from "../shared/format";
import { Icon, type IconName } from "../shared/icons";
import { Chart, type Line } from "./chart";
import { latest, revision, topics } from "./history";
import { cluster, loaded, watchCluster } from "./live";
import { Empty, Loading, NodeName, Panel } from "./parts";
import { Recent } from "./errors";
import { route, setQuery } from "./route";
import { type Cluster, type NodeState, outcomes } from "./types";

const spans = { "1m": 60, "5m": 300, "15m": 900 } as const;
type SpanName = keyof typeof spans;

const topicColors = ["--c-1", "--c-2", "--c-3", "--c-4", "--c-5", "--c-6"];
const dashes = [undefined, [6, 3], [2, 2], [9, 3, 2, 3], [4, 4], [12, 3]];
const dash = (i: number) => (dashes[i] ? { dash: dashes[i] } : {});

const outcomeLines: Line[] = outcomes.map((o, i) => ({ label: o, field: `outcome.${o}`, merge: "sum", color: `--c-${o}`, fill: o === "pushed", ...dash(i) }));

/** Overview answers whether it is healthy and where time goes. */
export function Overview() {
  useEffect(watchCluster, []);
  const name = route.value.query.get("span") ?? "5m";
  const shown: SpanName = name in spans ? (name as SpanName) : "5m";
  const state = cluster.value;
  const node = route.value.query.get("node") ?? "";
  const chart = { span: spans[shown], node };
  revision.value; // busiest topics are found again
  const topicLines: Line[] = topics(chart.span, node).slice(0, 6).map((t, i) => ({ label: t, field: `topic.${t}`, merge: "sum", color: topicColors[i]!, ...dash(i) }));
  return (
    <>
      <header class="view-head">
        <h1>Overview</h1>
        <div class="controls">
          {state && state.nodes.length > 1 && (
            <label class="inline">
              <span class="sr">Node</span>
              <select class="input slim" value={node} onChange={(e) => setQuery({ node: e.currentTarget.value })}>
                <option value="">All nodes</option>
                {state.nodes.map((n) => (
                  <option key={n.id} value={n.id}>
                    {n.id}
                  </option>
                ))}
              </select>
            </label>
          )}
          <div class="segments" role="group" aria-label="Time shown">
            {Object.keys(spans).map((s) => (
              <button type="button" key={s} aria-pressed={s === shown} onClick={() => setQuery({ span: s === "5m" ? undefined : s })}>
                {s}
              </button>
            ))}
          </div>
        </div>
      </header>
      {state ? <Health state={state} /> : <Loading rows={1} />}
      <Figures state={state} node={node} />
      {loaded.value ? (
        <div class="charts">
          <Chart id="outcomes" title="Messages by outcome" hint="per second" lines={outcomeLines} format={rate} atLeast={5} ticks="whole" {...chart} />
          <Chart id="topics" title="Messages by topic" hint="per second, busiest six" lines={topicLines} format={rate} atLeast={5} ticks="whole" empty="No message in this time." {...chart} />
          <Chart
            id="latency"
            title="Push latency"
            hint={node ? "stored to handed to the socket" : "stored to handed to the socket, worst node"}
            lines={[
              { label: "p50", field: "p50Ms", merge: "max", color: "--c-1" },
              { label: "p99", field: "p99Ms", merge: "max", color: "--c-2", dash: [6, 3] },
              { label: "p99.9", field: "p999Ms", merge: "max", color: "--c-4", dash: [2, 2] },
            ]}
            format={millis}
            atLeast={4}
            {...chart}
          />
          <Chart id="lag" title="Intake lag" hint="messages stored, not yet read" lines={[{ label: "lag", field: "lag", merge: "max", color: "--c-1", fill: true }]} format={count} atLeast={10} ticks="whole" {...chart} />
          <Chart
            id="sockets"
            title="Sockets and users"
            hint="at the moment"
            lines={[
              { label: "sockets", field: "sockets", merge: "sum", color: "--c-1", fill: true },
              { label: "users", field: "users", merge: "sum", color: "--c-3", dash: [6, 3] },
            ]}
            format={count}
            atLeast={5}
            ticks="whole"
            {...chart}
          />
          <Chart
            id="connects"
            title="Connects and drops"
            hint="per second"
            lines={[
              { label: "connected", field: "connected", merge: "sum", color: "--c-1" },
              { label: "dropped", field: "dropped", merge: "sum", color: "--c-dead", dash: [6, 3] },
            ]}
            format={rate}
            atLeast={5}
            ticks="whole"
            {...chart}
          />
          <Chart id="store" title="Store" hint={node ? "time of a ping" : "time of a ping, worst node"} lines={[{ label: "ping", field: "storeMs", merge: "max", color: "--c-3", fill: true }]} format={millis} atLeast={1} {...chart} />
          <Chart id="memory" title="Memory" hint="resident, of all nodes" lines={[{ label: "resident", field: "rssBytes", merge: "sum", color: "--c-5", fill: true }]} format={bytes} atLeast={64 << 20} ticks="bytes" {...chart} />
        </div>
      ) : (
        <Loading rows={4} />
      )}
      {state && <Nodes state={state} />}
      {state && <Reasons state={state} />}
      <Recent limit={5} />
    </>
  );
}

/** problems names what an engineer should look at, worst first. */
export function problems(state: Cluster): string[] {
  const found: string[] = [];
  if (!state.leader) found.push("There is no leader: messages wait in the stream.");
  for (const id of state.missing ?? []) found.push(`Node ${id} does not answer.`);
  for (const n of state.nodes) {
    if (!n.nats.connected) found.push(`Node ${n.id} has no connection to NATS.`);
    if (!n.store.ok) found.push(`Node ${n.id} cannot reach its store${n.store.error ? `: ${n.store.error}` : ""}.`);
    if (n.canary && !n.canary.ok) found.push(`The canary of node ${n.id} has not come through for ${millis(n.canary.ageMs)}.`);
    for (const [name, text] of Object.entries(n.reasons ?? {})) {
      if (n.nats.connected || name !== "nats") if (n.store.ok || name !== "store") found.push(`Node ${n.id} is not ready: ${name}: ${text}`);
    }
    if (!n.ready && !n.reasons && n.nats.connected && n.store.ok) found.push(`Node ${n.id} is not ready.`);
  }
  const lag = Math.max(0, ...state.nodes.filter((n) => n.leader).map((n) => n.nats.lag));
  if (lag > 1000) found.push(`The leader is ${plural(lag, "message")} behind the stream.`);
  return found;
}

function Health({ state }: { state: Cluster }) {
  const found = problems(state);
  const ready = state.nodes.filter((n) => n.ready).length;
  const version = state.version && ` · version ${state.version}`;
  return (
    <section class={`health ${found.length ? "bad" : "ok"}`} aria-label="Health" aria-live="polite">
      <Icon name={found.length ? "bad" : "ok"} size={20} />
      <div>
        <p class="headline" data-health>
          {found.length ? found[0] : `Healthy: ${state.nodes.length === 1 ? "the node is ready" : `${ready} of ${state.nodes.length} nodes are ready`}, and the stream is read as it fills.`}
        </p>
        {found.slice(1).map((p) => (
          <p key={p}>{p}</p>
        ))}
        <p class="small muted">
          Leader <span class="mono">{state.leader || "none"}</span>
          {version}
        </p>
      </div>
    </section>
  );
}

function Figures({ state, node }: { state: Cluster | null; node: string }) {
  revision.value;
  const nodes = state?.nodes.filter((n) => !node || n.id === node) ?? [];
  const stores = [...new Set(nodes.map((n) => (n.store.kind === "redis" ? "Redis" : "in memory")))].join(", ");
  const embedded = nodes.some((n) => n.nats.embedded);
  const worst = (f: (n: NodeState) => number) => (nodes.length ? Math.max(...nodes.map(f)) : null);
  const figures: { id: string; label: string; value: string; under: string; state?: IconName }[] = [
    { id: "sockets", label: "Sockets", value: count(latest("sockets", "sum", node)), under: nodes.length ? `${count(sum(nodes, (n) => n.connections.websocket))} websocket, ${count(sum(nodes, (n) => n.connections.polling))} polling` : none },
    { id: "users", label: "Users", value: count(latest("users", "sum", node)), under: nodes.length > 1 ? "counted on each node" : "with a socket" },
    { id: "rate", label: "Messages", value: `${rate(latest("received", "sum", node))}/s`, under: `${count(nodes.length ? sum(nodes, (n) => n.counters.received) : null)} since start` },
    { id: "p99", label: "Push latency p99", value: millis(latest("p99Ms", "max", node)), under: `median ${millis(latest("p50Ms", "max", node))}` },
    { id: "lag", label: "Intake lag", value: count(latest("lag", "max", node)), under: `${count(worst((n) => n.nats.streamMessages))} in the stream` },
    { id: "nats", label: "NATS", value: !nodes.length ? none : nodes.every((n) => n.nats.connected) ? "Connected" : "Lost", under: nodes.length ? `${embedded ? "inside this process" : `round trip ${millis(worst((n) => n.nats.rttMs))}`}` : none, state: nodes.every((n) => n.nats.connected) ? "ok" : "bad" },
    { id: "store", label: "Store", value: !nodes.length ? none : nodes.every((n) => n.store.ok) ? "Answers" : "Lost", under: nodes.length ? nodes.some((n) => n.store.kind === "redis") ? `${stores}, ping ${millis(worst((n) => n.store.pingMs))}` : stores : none, state: nodes.every((n) => n.store.ok) ? "ok" : "bad" },
  ];
  return (
    <dl class="figures">
      {figures.map((f) => (
        <div class="panel figure" key={f.id} data-figure={f.id}>
          <dt>{f.label}</dt>
          <dd class="value num">
            {f.state && nodes.length > 0 && (
              <span class={`state ${f.state}`}>
                <Icon name={f.state} size={18} />
              </span>
            )}
            {f.value}
          </dd>
          <dd class="under num">{f.under}</dd>
        </div>
      ))}
    </dl>
  );
}

const sum = (nodes: NodeState[], f: (n: NodeState) => number) => nodes.reduce((total, n) => total + f(n), 0);

function Nodes({ state }: { state: Cluster }) {
  const now = Date.parse(state.at);
  return (
    <Panel title="Nodes" hint={plural(state.nodes.length, "node")}>
      <div class="table-box">
        <table class="stack">
          <thead>
            <tr>
              <th>Node</th>
              <th>State</th>
              <th class="r">Sockets</th>
              <th class="r">Users</th>
              <th class="r">Received</th>
              <th class="r">p99</th>
              <th class="r">Canary</th>
              <th class="r">Memory</th>
              <th class="r">Goroutines</th>
              <th class="r">Up</th>
            </tr>
          </thead>
          <tbody>
            {state.nodes.map((n) => (
              <tr key={n.id}>
                <td class="title">
                  <NodeName id={n.id} />
                  {n.leader && (
                    <span class="tag accent">
                      <Icon name="crown" size={12} />
                      leader
                    </span>
                  )}
                </td>
                <td data-label="State">
                  <span class={`tag ${n.ready ? "ok" : "bad"}`}>
                    <Icon name={n.ready ? "ok" : "bad"} size={12} />
                    {n.ready ? "ready" : "not ready"}
                  </span>
                </td>
                <td class="r num" data-label="Sockets">{count(n.sockets)}</td>
                <td class="r num" data-label="Users">{count(n.users)}</td>
                <td class="r num" data-label="Received">{count(n.counters.received)}</td>
                <td class="r num" data-label="p99">{n.push.count ? millis(n.push.p99Ms) : none}</td>
                <td class="r num nowrap" data-label="Canary">{!n.canary ? none : n.canary.ok ? millis(n.canary.lastMs) : `silent for ${millis(n.canary.ageMs)}`}</td>
                <td class="r num" data-label="Memory">{bytes(n.rssBytes)}</td>
                <td class="r num" data-label="Goroutines">{count(n.goroutines)}</td>
                <td class="r num nowrap" data-label="Up">{span(now - Date.parse(n.startedAt))}</td>
              </tr>
            ))}
            {(state.missing ?? []).map((id) => (
              <tr key={id}>
                <td class="title">
                  <NodeName id={id} />
                </td>
                <td data-label="State">
                  <span class="tag bad">
                    <Icon name="bad" size={12} />
                    no answer
                  </span>
                </td>
                <td colSpan={8} class="muted">
                  Its lease is alive, but it did not answer in half a second.
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

/** Reasons are what was dropped and refused, counted since the nodes started. */
function Reasons({ state }: { state: Cluster }) {
  const drops = add(state.nodes.map((n) => n.counters.drops));
  const refusals = add(state.nodes.map((n) => n.counters.refusals));
  return (
    <div class="columns">
      <Panel title="Drops by reason" hint="sockets closed by us, since start">
        <Bars counts={drops} none="No socket was dropped." />
      </Panel>
      <Panel title="Refusals by limit" hint="since start">
        <Bars counts={refusals} none="No limit was reached." />
      </Panel>
    </div>
  );
}

function add(all: (Record<string, number> | undefined)[]): [string, number][] {
  const sums = new Map<string, number>();
  for (const one of all) for (const [name, n] of Object.entries(one ?? {})) sums.set(name, (sums.get(name) ?? 0) + n);
  return [...sums].filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]);
}

function Bars({ counts, none: text }: { counts: [string, number][]; none: string }) {
  if (!counts.length) return <Empty>{text}</Empty>;
  const most = counts[0]![1];
  return (
    <ul class="bars">
      {counts.map(([name, n]) => (
        <li key={name}>
          <span>{name}</span>
          <b class="num">{count(n)}</b>
          <meter min={0} max={most} value={n} aria-hidden="true" />
        </li>
      ))}
    </ul>
  );
}
