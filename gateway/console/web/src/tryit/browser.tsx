import { useEffect, useRef, useState } from "preact/hooks";
import { io, type Socket } from "socket.io-client";
import { Draft } from "../shared/draft";
import { Icon } from "../shared/icons";
import { millis, plural } from "../shared/format";

/** Arrival is an event as a page received it. */
export interface Arrival {
  key: number;
  topic: string;
  payload: string;
  offset: string;
  at: number; // performance.now()
  resumed: boolean; // it came in the moment of coming back
}

type State = "connecting" | "online" | "away" | "refused";

const stateTexts: Record<State, string> = { connecting: "Connecting", online: "Online", away: "Offline", refused: "Not let in" };
const kept = 50; // events shown

let keys = 0;

/** Browser is a page of somebody: a stock Socket.IO client, and what it has received. */
export function Browser({ name, user, onUser, tookMs }: { name: string; user: string; onUser: (user: string) => void; tookMs: Map<string, number> }) {
  const [state, setState] = useState<State>("connecting");
  const [reason, setReason] = useState("");
  const [socketId, setSocketId] = useState("");
  const [resumed, setResumed] = useState<number | null>(null);
  const [arrivals, setArrivals] = useState<Arrival[]>([]);
  const socket = useRef<Socket | null>(null);
  const who = useRef(user);
  who.current = user;

  useEffect(() => {
    let backAt = -Infinity; // when it came back with its session
    const s = io({ forceNew: true });
    socket.current = s;
    s.on("connect", () => {
      setSocketId(s.id ?? "");
      setState("online");
      setReason("");
      if (s.recovered) {
        backAt = performance.now();
        setResumed(0);
      } else {
        setResumed(null);
        introduce(s, who.current, setReason);
      }
    });
    s.on("disconnect", () => {
      setState("away");
      setSocketId("");
    });
    s.on("connect_error", (err) => {
      setState("refused");
      setReason(err.message);
    });
    s.onAny((topic: string, payload: unknown, offset?: unknown) => {
      if (topic.startsWith("bridge:") || topic.startsWith("auth:")) return;
      const at = performance.now();
      const late = at - backAt < 300;
      if (late) setResumed((n) => (n ?? 0) + 1);
      const one: Arrival = { key: ++keys, topic, payload: JSON.stringify(payload, null, 1).replace(/\n\s*/g, " "), offset: typeof offset === "string" ? (offset.split(".")[0] ?? "") : "", at, resumed: late };
      setArrivals((before) => [one, ...before].slice(0, kept));
    });
    return () => {
      s.disconnect();
    };
  }, []);

  useEffect(() => {
    if (socket.current?.connected && user) introduce(socket.current, user, setReason);
  }, [user]);

  const away = state === "away";
  const toggle = () => {
    const s = socket.current;
    if (!s) return;
    if (away) {
      s.io.reconnection(true);
      s.connect();
      return;
    }
    s.io.reconnection(false);
    s.io.engine.close(); // as a lost network: nobody says goodbye
  };
  return (
    <section class={`panel browser ${state}`} aria-label={name} data-browser={name}>
      <header class="chrome">
        <span class="lights" aria-hidden="true">
          <i />
          <i />
          <i />
        </span>
        <label class="address">
          <Icon name="users" size={14} />
          <span class="sr">User of {name}</span>
          <Draft value={user} required maxLength={128} onEnter={onUser} />
        </label>
        <button type="button" class="btn tight" onClick={toggle} disabled={state === "connecting" || state === "refused"}>
          {away ? "Come back" : "Go offline"}
        </button>
      </header>
      <p class="state small" role="status">
        <span class={`tag ${state === "online" ? "ok" : state === "refused" ? "bad" : "warn"}`}>
          <Icon name={state === "online" ? "ok" : state === "refused" ? "bad" : "away"} size={12} />
          {stateTexts[state]}
        </span>
        <b>{name}</b>
        {socketId && <code class="muted">{socketId}</code>}
        {resumed !== null && <span class="tag accent" data-resumed={resumed}>resumed, {plural(resumed, "missed message")}</span>}
      </p>
      {reason && (
        <p class="note bad" role="alert">
          {reason}
        </p>
      )}
      <ol class="events" aria-label={`Events of ${name}`} aria-live="polite" tabIndex={0}>
        {arrivals.map((a) => (
          <li key={a.key} class="fresh" data-event={a.topic}>
            <p class="head">
              <b class="wrap">{a.topic}</b>
              <span class="num muted">{a.resumed ? "while away" : tookMs.has(a.offset) ? millis(a.at - tookMs.get(a.offset)!) : ""}</span>
            </p>
            <code class="wrap">{a.payload}</code>
            {a.offset && <span class="mono offset">{a.offset}</span>}
          </li>
        ))}
        {arrivals.length === 0 && <li class="waiting">{away ? "Offline. What is sent now comes when it is back." : "Waits for its first event."}</li>}
      </ol>
    </section>
  );
}

function introduce(s: Socket, user: string, told: (reason: string) => void): void {
  s.emit("setUserId", user, (answer: { ok?: boolean; error?: string }) => told(answer.ok ? "" : (answer.error ?? "setUserId was refused")));
}
