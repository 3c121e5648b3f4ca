import { useState } from "preact/hooks";
import { CopyButton } from "../shared/copy";
import { count, millis, none } from "../shared/format";
import { call, Refused } from "./api";
import { Empty, Failure, Loading, NodeName, OutcomeTag, outcomeTexts, Panel, Time, useLoaded, UserLink } from "./parts";
import { go, href } from "./route";
import { VerdictLine } from "./user";
import type { Message as Data } from "./types";

/** Messages finds a message by its offset. */
export function Messages({ offset }: { offset: string }) {
  const [typed, setTyped] = useState(offset);
  const submit = (e: Event) => {
    e.preventDefault();
    if (typed.trim()) go(["messages", typed.trim()]);
  };
  return (
    <>
      <header class="view-head">
        <h1>Messages</h1>
        {offset && (
          <div class="controls">
            <CopyButton text={() => location.href} label="Copy link" icon="link" />
          </div>
        )}
      </header>
      <form class="lookup" role="search" aria-label="Look a message up" onSubmit={submit}>
        <label class="field grow">
          <span>Offset</span>
          <input class="input mono" name="offset" value={typed} placeholder="1763846400000-42" autocomplete="off" spellcheck={false} inputMode="numeric" pattern="\d+-\d+" title="Two numbers with a dash between them" onInput={(e) => setTyped(e.currentTarget.value)} />
        </label>
        <button type="submit" class="btn primary">
          Look up
        </button>
      </form>
      {offset ? (
        <Message offset={offset} />
      ) : (
        <Panel title="Where an offset is found">
          <ul class="hints">
            <li>
              In the answer of <code>/sendPayload</code>, and in a receipt (<code>Bridge-Receipt</code>) on NATS.
            </li>
            <li>In the browser: it is the last argument of each event.</li>
            <li>
              In the <a href={href(["live"])}>live tail</a>, and in the history of a <a href={href(["users"])}>user</a>.
            </li>
          </ul>
        </Panel>
      )}
    </>
  );
}

function Message({ offset }: { offset: string }) {
  const message = useLoaded((signal) => call<Data>(`messages/${encodeURIComponent(offset)}`, { signal }), [offset]);
  const m = message.data;
  if (message.error instanceof Refused && message.error.status === 404)
    return (
      <Panel title="Nothing is known of it">
        <Empty>
          <p>{message.error.message}.</p>
          <p>
            <button type="button" class="btn" onClick={message.again}>
              Ask again
            </button>
          </p>
        </Empty>
      </Panel>
    );
  if (message.error !== undefined) return <Failure error={message.error} again={message.again} />;
  if (!m) return <Loading />;
  const took = m.tries?.reduce((n, t) => n + t.took, 0) ?? 0;
  return (
    <>
      {m.verdict && <VerdictLine verdict={m.verdict} />}
      <Panel title="Message" hint={m.offset}>
        <dl class="facts in">
          <div>
            <dt>User</dt>
            <dd>
              <UserLink user={m.userId ?? ""} />
            </dd>
          </div>
          <div>
            <dt>Topic</dt>
            <dd class="wrap">{m.topic || none}</dd>
          </div>
          <div>
            <dt>Outcome</dt>
            <dd>
              <OutcomeTag outcome={m.outcome} code={m.code} />
            </dd>
          </div>
          <div>
            <dt>Sockets that took it</dt>
            <dd class="num">{count(took)}</dd>
          </div>
          <div>
            <dt>Read</dt>
            <dd>
              <Time at={m.read} />
            </dd>
          </div>
          <div>
            <dt>Settled</dt>
            <dd>
              <Time at={m.settled} /> <span class="muted num">+{millis(Date.parse(m.settled) - Date.parse(m.read))}</span>
            </dd>
          </div>
          <div class="wide">
            <dt>Subject</dt>
            <dd class="mono wrap">{m.subject}</dd>
          </div>
        </dl>
        <p class="foot">{outcomeTexts[m.outcome]}.</p>
      </Panel>
      <Panel title="Tries" hint="what each node did with it">
        {m.tries?.length ? (
          <div class="table-box">
            <table class="stack">
              <thead>
                <tr>
                  <th>Node</th>
                  <th class="r">Took it</th>
                  <th class="r">Had it already</th>
                  <th class="r">Confirmed</th>
                  <th>Sockets found there</th>
                </tr>
              </thead>
              <tbody>
                {m.tries.map((t) => (
                  <tr key={t.node}>
                    <td class="title">
                      <NodeName id={t.node} />
                      {t.error && <span class="tag bad">{t.error}</span>}
                    </td>
                    <td class="r num" data-label="Took it">{count(t.took)}</td>
                    <td class="r num" data-label="Had it already">{count(t.seen)}</td>
                    <td class="r num" data-label="Confirmed">{count(t.acked)}</td>
                    <td class="mono wrap" data-label="Sockets">{t.sockets?.join(" ") || none}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        ) : (
          <Empty>No node had a socket of this user when it was looked up.</Empty>
        )}
      </Panel>
    </>
  );
}
