import { useEffect, useRef, useState } from "preact/hooks";
import { count, millis, plural } from "../shared/format";
import { Icon } from "../shared/icons";
import { call } from "./api";
import { Empty, Failure, OffsetLink, OutcomeTag, outcomeTexts, Panel } from "./parts";
import { route, setQuery } from "./route";
import { TailTable, useTail } from "./tail";
import type { Receipt, TailRow } from "./types";

const example = `{
  "submissionId": "sub_456",
  "status": "ACCEPTED"
}`;

type State = { at: "idle" } | { at: "sending" } | { at: "done"; receipt: Receipt; ackWanted: boolean } | { at: "failed"; error: unknown };

/** Send puts a message into the stream, as a publisher would, and shows what became of it. */
export function Send() {
  const query = route.value.query;
  const user = query.get("user") ?? "";
  const topic = query.get("topic") ?? "submissionUpdate";
  const queue = query.get("queue") === "true";
  const ack = query.get("ack") === "true";
  const [payload, setPayload] = useState(example);
  const [invalid, setInvalid] = useState("");
  const [state, setState] = useState<State>({ at: "idle" });
  const watched = useSettled(user, 400);
  const { rows } = useTail(watched ? { user: watched } : null, false);
  const sent = state.at === "done" ? state.receipt.offset : "";
  const mine = useRef<TailRow | undefined>(undefined); // stays when a busy user's rows scroll it out
  if (mine.current?.offset !== sent) mine.current = rows.find((r) => r.offset === sent);
  const others = rows.filter((r) => r.offset !== sent);
  const set = (name: string) => (e: Event) => setQuery({ [name]: (e.currentTarget as HTMLInputElement).value });
  const toggle = (name: string) => (e: Event) => setQuery({ [name]: (e.currentTarget as HTMLInputElement).checked ? "true" : undefined });
  const submit = async (e: Event) => {
    e.preventDefault();
    const parsed = parsePayload(payload);
    setInvalid(typeof parsed === "string" ? parsed : "");
    if (typeof parsed === "string") return;
    setState({ at: "sending" });
    try {
      const receipt = await call<Receipt>("send", { body: { userId: user, topic, payload: parsed, queue, ack } });
      setState({ at: "done", receipt, ackWanted: ack });
    } catch (error) {
      setState({ at: "failed", error });
    }
  };
  return (
    <>
      <header class="view-head">
        <h1>Send</h1>
      </header>
      <div class="columns send">
        <Panel title="Message" hint="to every open page of the user">
          <form class="form" aria-label="Send a message" onSubmit={submit}>
            <div class="pair">
              <label class="field">
                <span>User</span>
                <input class="input" name="userId" required maxLength={128} value={user} placeholder="user_123" spellcheck={false} autocomplete="off" onInput={set("user")} />
              </label>
              <label class="field">
                <span>Topic</span>
                <input class="input" name="topic" required maxLength={128} pattern="[A-Za-z0-9_:\-]+(\.[A-Za-z0-9_:\-]+)*" title="Letters, digits, _ : and -, with dots between parts" value={topic} spellcheck={false} autocomplete="off" list="topics" onInput={set("topic")} />
              </label>
              <datalist id="topics">
                {["submissionUpdate", "evaluationComplete", "customRunComplete", "error"].map((t) => (
                  <option key={t} value={t} />
                ))}
              </datalist>
            </div>
            <label class="field">
              <span>Payload, a JSON object</span>
              <textarea class="input" name="payload" rows={6} spellcheck={false} value={payload} aria-invalid={invalid ? "true" : undefined} aria-describedby="payload-error" onInput={(e) => setPayload(e.currentTarget.value)} />
            </label>
            <p id="payload-error" class="small invalid" role="alert">
              {invalid}
            </p>
            <label class="check">
              <input type="checkbox" name="queue" checked={queue} onChange={toggle("queue")} />
              Keep it for the next page when nobody is there
            </label>
            <label class="check">
              <input type="checkbox" name="ack" checked={ack} onChange={toggle("ack")} />
              Ask the pages to confirm
            </label>
            <div>
              <button type="submit" class="btn primary" disabled={state.at === "sending"}>
                <Icon name="send" size={14} />
                {state.at === "sending" ? "Waiting for the receipt…" : "Send"}
              </button>
            </div>
          </form>
        </Panel>
        <Panel title="Receipt">
          <div aria-live="polite" class="receipt">
            {state.at === "idle" && <Empty>Send something, and what became of it arrives here.</Empty>}
            {state.at === "sending" && <Empty>On its way through the stream…</Empty>}
            {state.at === "failed" && <Failure error={state.error} />}
            {state.at === "done" && <Arrived receipt={state.receipt} ackWanted={state.ackWanted} />}
          </div>
        </Panel>
      </div>
      {user && (
        <Panel title={`Live: ${user}`} hint="what is settled for this user">
          {rows.length ? <TailTable rows={[...(mine.current ? [mine.current] : []), ...others].slice(0, 20)} /> : <Empty>No message yet.</Empty>}
        </Panel>
      )}
    </>
  );
}

function Arrived({ receipt: r, ackWanted }: { receipt: Receipt; ackWanted: boolean }) {
  return (
    <div data-receipt={r.outcome} key={r.offset}>
      <p class="big">
        <OutcomeTag outcome={r.outcome} />
      </p>
      <p class="muted">{outcomeTexts[r.outcome]}.</p>
      <dl class="facts in">
        <div>
          <dt>Sockets that took it</dt>
          <dd class="num">{count(r.sockets)}</dd>
        </div>
        {ackWanted && (
          <div>
            <dt>Confirmed</dt>
            <dd class="num">{plural(r.acks ?? 0, "page")}</dd>
          </div>
        )}
        <div>
          <dt>Took</dt>
          <dd class="num">{millis(r.tookMs)}</dd>
        </div>
        <div>
          <dt>Offset</dt>
          <dd>
            <OffsetLink offset={r.offset} />
          </dd>
        </div>
      </dl>
    </div>
  );
}

/** useSettled is a value that has not changed for so many ms. */
function useSettled<T>(value: T, ms: number): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), ms);
    return () => clearTimeout(timer);
  }, [value]);
  return settled;
}

/** parsePayload returns the object, or what is wrong with the text. */
function parsePayload(text: string): object | string {
  try {
    const value: unknown = JSON.parse(text || "{}");
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
    return "It must be an object: { … }";
  } catch (err) {
    return `Not JSON: ${(err as Error).message}`;
  }
}
