import { Component } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { count, millis } from "../shared/format";
import { Draft } from "../shared/draft";
import { Icon } from "../shared/icons";
import { link, tail } from "./live";
import { Empty, NodeName, OffsetLink, OutcomeTag, Time, UserLink } from "./parts";
import { route, setQuery } from "./route";
import { outcomes, type TailFilter, type TailRow } from "./types";

const shown = 300; // rows; older ones scroll out

interface Rows {
  rows: TailRow[]; // newest first
  waiting: TailRow[]; // came while paused, newest first
  skipped: number;
}

const nothing: Rows = { rows: [], waiting: [], skipped: 0 };

/** useTail collects what matches, newest first. */
export function useTail(filter: TailFilter | null, paused: boolean): Rows & { clear: () => void; resume: () => void } {
  const [state, setState] = useState(nothing);
  const pausedNow = useRef(paused);
  pausedNow.current = paused;
  const of = JSON.stringify(filter);
  useEffect(() => {
    setState(nothing);
    if (!filter) return;
    return tail(filter, (batch, skipped) => {
      const rows = batch.filter((r) => matches(filter, r)).reverse(); // some were on their way when the filter changed
      setState((s) => {
        const next = { ...s, skipped: s.skipped + skipped };
        if (pausedNow.current) next.waiting = [...rows, ...s.waiting].slice(0, shown);
        else next.rows = [...rows, ...s.rows].slice(0, shown);
        return next;
      });
    });
  }, [of]);
  return {
    ...state,
    clear: () => setState(nothing),
    resume: () => setState((s) => ({ ...s, rows: [...s.waiting, ...s.rows].slice(0, shown), waiting: [] })),
  };
}

function matches(f: TailFilter, r: TailRow): boolean {
  const topic = f.topic?.endsWith("*") ? r.topic.startsWith(f.topic.slice(0, -1)) : !f.topic || r.topic === f.topic;
  return topic && (!f.user || r.userId === f.user) && (!f.outcome || r.outcome === f.outcome);
}

/** Tail shows messages as they are settled. */
export function Tail() {
  const query = route.value.query;
  const filter: TailFilter = {};
  for (const name of ["user", "topic", "outcome"] as const) {
    const value = query.get(name);
    if (value) filter[name] = value;
  }
  const [paused, setPaused] = useState(false);
  const { rows, waiting, skipped, clear, resume } = useTail(filter, paused);
  const toggle = () => {
    if (paused) resume();
    setPaused(!paused);
  };
  const filtered = Object.keys(filter).length > 0;
  return (
    <>
      <header class="view-head">
        <h1>Live tail</h1>
        <div class="controls">
          <button type="button" class="btn" aria-pressed={paused} onClick={toggle}>
            <Icon name={paused ? "play" : "pause"} size={14} />
            {paused ? `Resume${waiting.length ? ` (${count(waiting.length)}${waiting.length === shown ? "+" : ""} new)` : ""}` : "Pause"}
          </button>
          <button type="button" class="btn" onClick={clear}>
            Clear
          </button>
        </div>
      </header>
      <form class="filters" aria-label="Filters" onSubmit={(e) => e.preventDefault()}>
        <label class="field">
          <span>User</span>
          <Draft name="user" placeholder="any" value={filter.user ?? ""} onEnter={(user) => setQuery({ user })} />
        </label>
        <label class="field">
          <span>Topic, may end in *</span>
          <Draft name="topic" placeholder="any" value={filter.topic ?? ""} onEnter={(topic) => setQuery({ topic })} />
        </label>
        <label class="field">
          <span>Outcome</span>
          <select class="input" name="outcome" value={filter.outcome ?? ""} onChange={(e) => setQuery({ outcome: e.currentTarget.value })}>
            <option value="">any</option>
            {outcomes.map((o) => (
              <option key={o}>{o}</option>
            ))}
          </select>
        </label>
        <button type="button" class="btn" disabled={!filtered} onClick={() => setQuery({ user: "", topic: "", outcome: "" })}>
          Show all
        </button>
      </form>
      <section class="panel" aria-label="Messages">
        <header class="panel-head">
          <h2>
            <span role="status">{paused ? "Paused" : link.value === "connected" ? "Following" : "Waiting for the node"}</span>
            {!paused && link.value === "connected" && <i class="pulse" aria-hidden="true" />}
          </h2>
          <span class="hint num" data-skipped={skipped}>
            {skipped > 0 ? `${count(skipped)} skipped: more came than can be read` : `${count(rows.length)} shown, newest first`}
          </span>
        </header>
        {rows.length === 0 ? <Empty>{filtered ? "Nothing that matches has come yet." : "No message has come yet. It appears here in the moment it is settled."}</Empty> : <TailTable rows={rows} />}
      </section>
    </>
  );
}

export function TailTable({ rows }: { rows: TailRow[] }) {
  return (
    <div class="table-box">
      <table class="stack tail" data-table="tail">
        <thead>
          <tr>
            <th>Time</th>
            <th>User</th>
            <th>Topic</th>
            <th>Outcome</th>
            <th class="r">Sockets</th>
            <th class="r">Took</th>
            <th>Node</th>
            <th>Offset</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((r) => (
            <Row key={r.offset || r.at} row={r} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Row renders once: a busy tail would otherwise render all its rows four times a second. */
class Row extends Component<{ row: TailRow }> {
  override shouldComponentUpdate(next: { row: TailRow }): boolean {
    return next.row !== this.props.row;
  }

  override render({ row: r }: { row: TailRow }) {
    return (
      <tr class="fresh">
        <td data-label="Time">
          <Time at={r.at} />
        </td>
        <td class="title" data-label="User">
          <UserLink user={r.userId} />
        </td>
        <td class="wrap" data-label="Topic">
          {r.topic}
        </td>
        <td data-label="Outcome">
          <OutcomeTag outcome={r.outcome} code={r.code} />
        </td>
        <td class="r num" data-label="Sockets">
          {count(r.sockets)}
        </td>
        <td class="r num nowrap" data-label="Took">
          {millis(r.tookMs)}
        </td>
        <td data-label="Node">
          <NodeName id={r.node} />
        </td>
        <td data-label="Offset">
          <OffsetLink offset={r.offset} />
        </td>
      </tr>
    );
  }
}
