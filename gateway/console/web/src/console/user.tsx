import { useEffect, useRef } from "preact/hooks";
import { CopyButton } from "../shared/copy";
import { Draft } from "../shared/draft";
import { bytes, count, localTimes, millis, none, plural } from "../shared/format";
import { Icon, type IconName } from "../shared/icons";
import { call } from "./api";
import { tail } from "./live";
import { Empty, Failure, Loading, NodeName, OffsetLink, OutcomeTag, Panel, Time, useLoaded } from "./parts";
import { href, route, setQuery } from "./route";
import type { User as Data, Verdict } from "./types";

/** What a verdict's code means for whoever is in a hurry. */
const moods: Record<string, "ok" | "warn" | "bad" | ""> = {
  pushed: "ok",
  queued: "warn",
  in_flight: "",
  duplicate: "",
  no_socket: "warn",
  never_published: "",
  poison: "bad",
  pushed_dead_tab: "bad",
  slow_socket_closed: "bad",
  history_expired: "bad",
};
const icons: Record<string, IconName> = { ok: "ok", warn: "warn", bad: "bad", "": "info" };

/** VerdictLine is the answer in one sentence. */
export function VerdictLine({ verdict }: { verdict: Verdict }) {
  const mood = moods[verdict.code] ?? "";
  const [first = "", rest] = localTimes(verdict.text).split(/(?<=[.!?]) (.*)/s);
  return (
    <section class={`verdict ${mood}`} aria-label="Verdict" aria-live="polite" data-verdict={verdict.code}>
      <Icon name={icons[mood]!} size={22} />
      <div>
        <p class="sentence wrap">{first}</p>
        {rest && <p class="rest wrap">{rest}</p>}
        <p class="small">
          <code>{verdict.code}</code>
        </p>
      </div>
    </section>
  );
}

/** User answers why somebody did or did not get a message. */
export function User({ id }: { id: string }) {
  const topic = route.value.query.get("topic") ?? "";
  const user = useLoaded((signal) => call<Data>(`users/${encodeURIComponent(id)}?limit=50&topic=${encodeURIComponent(topic)}`, { signal }), [id, topic], 5000);
  const again = useRef(user.again);
  again.current = user.again;
  useEffect(() => {
    // A message of this user is shown when it has come, not in five seconds.
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = tail({ user: id }, () => {
      timer ??= setTimeout(() => {
        timer = undefined;
        again.current();
      }, 400);
    });
    return () => {
      clearTimeout(timer);
      stop();
    };
  }, [id]);
  const d = user.data;
  return (
    <>
      <header class="view-head">
        <div class="crumbs">
          <a href={href(["users"])}>Users</a>
          <span aria-hidden="true">/</span>
        </div>
        <h1 class="wrap">{id}</h1>
        <div class="controls">
          <CopyButton text={() => location.href} label="Copy link" icon="link" />
          <a class="btn tight" href={href(["live"], { user: id })}>
            <Icon name="live" size={14} />
            Tail
          </a>
          <a class="btn tight" href={href(["send"], { user: id, topic })}>
            <Icon name="send" size={14} />
            Send
          </a>
        </div>
      </header>
      {user.error !== undefined && <Failure error={user.error} again={user.again} />}
      {user.loading && <Loading rows={4} />}
      {d && (
        <>
          <VerdictLine verdict={d.verdict} />
          {d.missing?.length ? (
            <div class="note warn">
              <Icon name="warn" />
              Without what {plural(d.missing.length, "node")} knows that did not answer: {d.missing.join(", ")}.
            </div>
          ) : null}
          {d.partial?.map((p) => (
            <div class="note warn" key={p}>
              <Icon name="warn" />
              {p}
            </div>
          ))}
          <dl class="facts">
            <div>
              <dt>Sockets</dt>
              <dd class="num">{count(d.sockets.length)}</dd>
            </div>
            <div>
              <dt>Nodes</dt>
              <dd class="num">{count(new Set(d.sockets.map((s) => s.node)).size)}</dd>
            </div>
            <div>
              <dt>Last message</dt>
              <dd>
                <OffsetLink offset={d.last} />
              </dd>
            </div>
            <div>
              <dt>Taken up to</dt>
              <dd>
                <OffsetLink offset={d.taken} />
              </dd>
            </div>
          </dl>
          <Panel title="Sockets" hint={count(d.sockets.length)}>
            {d.sockets.length === 0 ? <Empty>No page of this user is open.</Empty> : <Sockets of={d} />}
          </Panel>
          <Panel
            title="Messages"
            hint="newest first"
            action={
              <label class="inline">
                <span class="sr">Topic</span>
                <Draft class="input slim" placeholder="Any topic" value={topic} onEnter={(t) => setQuery({ topic: t })} />
              </label>
            }
          >
            {d.messages.length === 0 ? <Empty>{topic ? `No message of topic “${topic}” is in the history.` : "No message is in the history."}</Empty> : <Messages of={d} />}
          </Panel>
          {d.missed?.length ? (
            <Panel title="Not kept" hint="calls that found nobody and were answered 404">
              <ul class="rows">
                {d.missed.map((m) => (
                  <li key={`${m.at} ${m.topic}`}>
                    <Time at={m.at} />
                    <OutcomeTag outcome="offline" />
                    <span class="grow wrap">{m.topic}</span>
                    <NodeName id={m.node} />
                  </li>
                ))}
              </ul>
            </Panel>
          ) : null}
          {d.dead?.length ? (
            <Panel title="Dead letters" hint="broke the rules">
              <Dead of={d} />
            </Panel>
          ) : null}
          <Panel title="Connections" hint="newest first">
            {d.events.length === 0 ? <Empty>No connect or disconnect is remembered.</Empty> : <Events of={d} />}
          </Panel>
        </>
      )}
    </>
  );
}

function Sockets({ of: d }: { of: Data }) {
  return (
    <div class="table-box">
      <table class="stack">
        <thead>
          <tr>
            <th>Socket</th>
            <th>Node</th>
            <th>Transport</th>
            <th>Since</th>
            <th>Last offset</th>
            <th class="r">Waiting</th>
          </tr>
        </thead>
        <tbody>
          {d.sockets.map((s) => (
            <tr key={s.socketId}>
              <td class="title mono wrap">{s.socketId}</td>
              <td data-label="Node">
                <NodeName id={s.node} />
              </td>
              <td data-label="Transport">{s.transport}</td>
              <td data-label="Since">
                <Time at={s.since} relative />
              </td>
              <td data-label="Last offset">
                <OffsetLink offset={s.lastOffset} />
              </td>
              <td class="r num" data-label="Waiting">
                {s.queuedBytes ? bytes(s.queuedBytes) : "nothing"}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Messages({ of: d }: { of: Data }) {
  return (
    <div class="table-box">
      <table class="stack" data-table="messages">
        <thead>
          <tr>
            <th>Time</th>
            <th>Topic</th>
            <th>Outcome</th>
            <th>Why</th>
            <th class="r">Sockets</th>
            <th>Offset</th>
          </tr>
        </thead>
        <tbody>
          {d.messages.map((m) => (
            <tr key={m.offset}>
              <td data-label="Time">
                {m.at ? <Time at={m.at} /> : none}
              </td>
              <td class="title wrap">{m.topic}</td>
              <td data-label="Outcome">
                {m.outcome ? <OutcomeTag outcome={m.outcome} code={m.code} /> : <span class="muted">not known</span>}
              </td>
              <td class="why" data-label="Why">
                <span class="clamp" title={localTimes(m.verdict?.text ?? "")}>
                  {localTimes(m.verdict?.text ?? "")}
                </span>
              </td>
              <td class="r num" data-label="Sockets">
                {count(m.sockets)}
              </td>
              <td data-label="Offset">
                <OffsetLink offset={m.offset} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Dead({ of: d }: { of: Data }) {
  return (
    <ul class="rows">
      {d.dead!.map((l) => (
        <li key={l.seq}>
          <Time at={l.at} />
          <OutcomeTag outcome="dead" code={l.code} />
          <span class="grow wrap">{l.reason}</span>
          <span class="mono muted wrap">{l.subject}</span>
        </li>
      ))}
    </ul>
  );
}

const eventIcons: Record<string, IconName> = { connected: "arrow", disconnected: "away", resumed: "check" };

function Events({ of: d }: { of: Data }) {
  return (
    <ul class="rows">
      {d.events.map((e) => (
        <li key={`${e.at} ${e.event} ${e.socketId}`}>
          <Time at={e.at} />
          <span class="event">
            <Icon name={eventIcons[e.event] ?? "info"} size={14} />
            {e.event}
          </span>
          <span class="grow muted">
            {e.reason}
            {e.durationMs ? `${e.reason ? ", " : ""}after ${millis(e.durationMs)}` : ""}
          </span>
          <span class="mono muted wrap">{e.socketId}</span>
          <NodeName id={e.node} />
        </li>
      ))}
    </ul>
  );
}
