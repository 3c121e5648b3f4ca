import { count, bytes } from "../shared/format";
import { Icon } from "../shared/icons";
import { call } from "./api";
import { Empty, Failure, Loading, NodeName, OutcomeTag, Panel, Time, useLoaded, UserLink } from "./parts";
import { href } from "./route";
import type { DeadLetters, Logs } from "./types";

/** Errors are what nodes warn of, and what could not be delivered at all. */
export function Errors() {
  return (
    <>
      <header class="view-head">
        <h1>Errors</h1>
      </header>
      <Recent limit={200} />
      <Letters />
    </>
  );
}

/** Recent shows the newest warnings and errors of the node that answers. */
export function Recent({ limit }: { limit: number }) {
  const logs = useLoaded((signal) => call<Logs>(`logs?limit=${limit}`, { signal }), [limit], 5000);
  const short = limit < 50;
  return (
    <Panel title="Recent errors" hint="warnings and errors of the node that serves this page, newest first" action={short && <a href={href(["errors"])}>All</a>}>
      {logs.error !== undefined && <Failure error={logs.error} again={logs.again} />}
      {logs.loading && <Loading />}
      {logs.data && logs.data.entries.length === 0 && <Empty>There was nothing to warn of.</Empty>}
      {logs.data && logs.data.entries.length > 0 && (
        <ul class="rows" data-list="logs">
          {logs.data.entries.map((e, i) => (
            <li key={`${e.at} ${i}`}>
              <Time at={e.at} />
              <Level level={e.level} />
              <span class="grow wrap">
                {e.message} {attributes(e.attrs)}
              </span>
              <NodeName id={e.node} />
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

function Level({ level }: { level: string }) {
  const bad = level.toLowerCase() === "error";
  return (
    <span class={`tag ${bad ? "bad" : "warn"}`}>
      <Icon name={bad ? "bad" : "warn"} size={12} />
      {level.toLowerCase()}
    </span>
  );
}

function attributes(attrs: Record<string, unknown> = {}) {
  const text = Object.entries(attrs).map(([k, v]) => `${k}=${typeof v === "string" ? v : JSON.stringify(v)}`);
  return text.length ? <span class="mono muted">{text.join(" ")}</span> : null;
}

function Letters() {
  const dead = useLoaded((signal) => call<DeadLetters>("dead?limit=50", { signal }), [], 5000);
  return (
    <Panel title="Dead letters" hint={dead.data && count(dead.data.total)}>
      {dead.error !== undefined && <Failure error={dead.error} again={dead.again} />}
      {dead.loading && <Loading />}
      {dead.data && dead.data.letters.length === 0 && <Empty>Every message kept the rules.</Empty>}
      {dead.data && dead.data.letters.length > 0 && (
        <>
          <div class="table-box">
            <table class="stack" data-table="dead">
              <thead>
                <tr>
                  <th class="r">No.</th>
                  <th>Time</th>
                  <th>Code</th>
                  <th>Reason</th>
                  <th>Subject</th>
                  <th>User</th>
                  <th class="r">Size</th>
                </tr>
              </thead>
              <tbody>
                {dead.data.letters.map((l) => (
                  <tr key={l.seq}>
                    <td class="r num" data-label="No.">{l.seq}</td>
                    <td data-label="Time">
                      <Time at={l.at} />
                    </td>
                    <td class="title">
                      <OutcomeTag outcome="dead" code={l.code} />
                    </td>
                    <td class="wrap" data-label="Reason">{l.reason}</td>
                    <td class="mono wrap" data-label="Subject">{l.subject}</td>
                    <td data-label="User">
                      <UserLink user={l.userId ?? ""} />
                    </td>
                    <td class="r num nowrap" data-label="Size">{bytes(l.bytes)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
          <p class="foot">
            <code>socketbridge dead show</code>, <code>replay</code> and <code>purge</code> look after them.
          </p>
        </>
      )}
    </Panel>
  );
}
