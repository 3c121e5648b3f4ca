import "../shared/base.css";
import "./tryit.css";
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { millis } from "../shared/format";
import { Icon, Mark } from "../shared/icons";
import { ThemeToggle } from "../shared/theme-toggle";
import { Browser } from "./browser";
import { type Inside, Snippets } from "./snippets";

/** Sending is what the form holds. */
export interface Sending {
  user: string;
  topic: string;
  payload: string;
  queue: boolean;
}

interface Answer {
  status: number;
  body: string;
  tookMs: number;
  offset: string;
}

const samples: Record<string, object> = {
  submissionUpdate: { submissionId: "sub_123", status: "IN_PROGRESS", testCase: 3, totalTestCases: 10 },
  evaluationComplete: { submissionId: "sub_123", status: "ACCEPTED", result: { testCasesPassed: 10, totalTestCases: 10, executionTime: "120ms", memoryUsed: "25MB" } },
  customRunComplete: { runId: "run_456", output: "42\n", stderr: "", exitCode: 0, executionTime: "50ms" },
};
const pretty = (value: object) => JSON.stringify(value, null, 2);

function Page() {
  const [users, setUsers] = useState(["user_123", "user_123"]);
  const [sending, setSending] = useState<Sending>({ user: "user_123", topic: "submissionUpdate", payload: pretty(samples.submissionUpdate!), queue: false });
  const [answer, setAnswer] = useState<Answer | string | null>(null);
  const [invalid, setInvalid] = useState("");
  const [sent, setSent] = useState<Map<string, number>>(new Map()); // by offset: when the form sent it
  const [inside, setInside] = useState<Inside>({ nats: "nats://127.0.0.1:4222", subjectPrefix: "codewar" });
  useEffect(() => {
    fetch("/tryit/config.json").then((r) => r.json()).then(setInside, () => undefined); // the defaults are most people's
  }, []);
  const change = (what: Partial<Sending>) => setSending((before) => ({ ...before, ...what }));
  const setTopic = (topic: string) => {
    const untouched = Object.values(samples).some((s) => pretty(s) === sending.payload);
    change({ topic, ...(untouched && samples[topic] ? { payload: pretty(samples[topic]) } : {}) });
  };
  const submit = async (e: Event) => {
    e.preventDefault();
    let payload: unknown;
    try {
      payload = JSON.parse(sending.payload || "{}");
      if (typeof payload !== "object" || payload === null || Array.isArray(payload)) throw new Error("it must be an object");
      setInvalid("");
    } catch (err) {
      setInvalid(`Not a JSON object: ${(err as Error).message}`);
      return;
    }
    const began = performance.now();
    try {
      const response = await fetch(`/sendPayload${sending.queue ? "?queue=true" : ""}`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ ...payload, userId: sending.user, topic: sending.topic }),
      });
      const body = (await response.json()) as { offset?: string };
      const offset = body.offset ?? "";
      setAnswer({ status: response.status, body: JSON.stringify(body, null, 2), tookMs: performance.now() - began, offset });
      if (offset) setSent((before) => new Map(before).set(offset, began));
    } catch {
      setAnswer("The bridge does not answer. Is it still running?");
    }
  };
  return (
    <>
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <header class="bar">
        <span class="brand">
          <Mark />
          Socket Bridge
        </span>
        <nav aria-label="More">
          <a class="btn" href="/console">
            Open the console
            <Icon name="arrow" size={14} />
          </a>
        </nav>
        <ThemeToggle />
      </header>
      <main id="main" tabIndex={-1}>
        <div class="hero">
          <h1>Your bridge is running.</h1>
          <p class="muted">Below are two browsers of one user, each a stock Socket.IO client of this process. Send a message, and both receive it.</p>
        </div>
        <div class="stage">
          <section class="panel" aria-label="Send">
            <form class="sendform" onSubmit={submit}>
              <h2>Send a message</h2>
              <label class="field">
                <span>User</span>
                <input class="input" name="userId" required maxLength={128} value={sending.user} spellcheck={false} autocomplete="off" onInput={(e) => change({ user: e.currentTarget.value })} />
              </label>
              <label class="field">
                <span>Topic</span>
                <input class="input" name="topic" required maxLength={128} list="topics" pattern="[A-Za-z0-9_:\-]+(\.[A-Za-z0-9_:\-]+)*" title="Letters, digits, _ : and -, with dots between parts" value={sending.topic} spellcheck={false} autocomplete="off" onInput={(e) => setTopic(e.currentTarget.value)} />
              </label>
              <datalist id="topics">
                {Object.keys(samples).map((t) => (
                  <option key={t} value={t} />
                ))}
              </datalist>
              <label class="field">
                <span>Payload</span>
                <textarea class="input" name="payload" rows={7} spellcheck={false} value={sending.payload} aria-invalid={invalid ? "true" : undefined} aria-describedby="payload-error" onInput={(e) => change({ payload: e.currentTarget.value })} />
              </label>
              <p id="payload-error" class="small invalid" role="alert">
                {invalid}
              </p>
              <label class="check">
                <input type="checkbox" name="queue" checked={sending.queue} onChange={(e) => change({ queue: e.currentTarget.checked })} />
                Let it wait when nobody is there
              </label>
              <button type="submit" class="btn primary">
                <Icon name="send" size={14} />
                Send
              </button>
            </form>
            <Outcome answer={answer} />
          </section>
          {["Browser A", "Browser B"].map((name, i) => (
            <Browser key={name} name={name} user={users[i]!} tookMs={sent} onUser={(user) => user && setUsers(users.map((u, j) => (j === i ? user : u)))} />
          ))}
        </div>
        <div class="lower">
          <Snippets sending={sending} inside={inside} />
          <section class="panel next" aria-label="What to try next">
            <h2>Then try this</h2>
            <ol>
              <li>
                <b>Lose the network.</b> Take Browser B offline, send three messages, and let it come back. It receives what it missed, once and in order.
              </li>
              <li>
                <b>Send to nobody.</b> Take both offline: the answer is 404, and the message never arrives. Let it wait instead, and it comes first on the next page.
              </li>
              <li>
                <b>Publish from a terminal.</b> The NATS tab has the command. Nothing else is needed: the server is inside this process.
              </li>
              <li>
                <b>Look inside.</b> The <a href="/console">console</a> shows who is connected, what became of each message, and why.
              </li>
            </ol>
          </section>
        </div>
      </main>
    </>
  );
}

function Outcome({ answer }: { answer: Answer | string | null }) {
  if (answer === null) return <div class="answer" role="status" />;
  if (typeof answer === "string")
    return (
      <div class="answer" role="status">
        <p class="note bad">{answer}</p>
      </div>
    );
  const good = answer.status < 300;
  return (
    <div class="answer shown" role="status" data-status={answer.status}>
      <p class="small">
        <span class={`tag ${good ? "ok" : "bad"}`}>
          <Icon name={good ? "ok" : "bad"} size={12} />
          {answer.status}
        </span>
        <span class="muted num">answered in {millis(answer.tookMs)}</span>
      </p>
      <pre class="wrap">
        <code>{answer.body}</code>
      </pre>
    </div>
  );
}

render(<Page />, document.getElementById("app")!);
