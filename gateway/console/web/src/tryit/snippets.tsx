import { useState } from "preact/hooks";
import { CopyButton } from "../shared/copy";
import type { Sending } from "./main";

export interface Inside {
  nats: string;
  subjectPrefix: string;
}

const quote = (text: string) => text.replaceAll("'", `'\\''`);

/** What did it, with the values of the form. */
function snippets(m: Sending, inside: Inside): { name: string; lead: string; code: string }[] {
  const origin = location.origin;
  const payload = compact(m.payload);
  const rest = payload.replace(/^\{\s*/, "");
  const body = `{"userId":${JSON.stringify(m.user)}, "topic":${JSON.stringify(m.topic)}${rest === "}" ? "}" : `, ${rest}`}`;
  const published = `{"userId":${JSON.stringify(m.user)}${rest === "}" ? "}" : `, ${rest}`}`;
  return [
    {
      name: "Browser",
      lead: "What each of the two browsers runs: the stock client, npm install socket.io-client.",
      code: `import { io } from "socket.io-client";

const socket = io("${origin}");

socket.on("connect", () => {
  socket.emit("setUserId", ${JSON.stringify(m.user)});
});
socket.on(${JSON.stringify(m.topic)}, (data) => {
  console.log(data);
});`,
    },
    {
      name: "HTTP",
      lead: "What the form does. The answer comes once a browser took the message.",
      code: `curl -sX POST '${origin}/sendPayload${m.queue ? "?queue=true" : ""}' \\
  -H 'Content-Type: application/json' \\
  -d '${quote(body)}'`,
    },
    {
      name: "NATS",
      lead: "The same from any NATS client, here the command line. The topic is in the subject.",
      code: `nats pub -s ${inside.nats} ${inside.subjectPrefix}.${m.topic} \\
  '${quote(published)}'`,
    },
    {
      name: "Go",
      lead: "Wait for the acknowledgement of the stream, and the message cannot be lost.",
      code: `nc, err := nats.Connect("${inside.nats}")
js, err := jetstream.New(nc)

ack, err := js.Publish(ctx, "${inside.subjectPrefix}.${m.topic}",
	[]byte(\`${published.replaceAll("`", "")}\`))`,
    },
  ];
}

function compact(payload: string): string {
  try {
    return JSON.stringify(JSON.parse(payload));
  } catch {
    return "{}";
  }
}

/** Snippets is a set of tabs, one for each way. */
export function Snippets({ sending, inside }: { sending: Sending; inside: Inside }) {
  const [shown, setShown] = useState(0);
  const all = snippets(sending, inside);
  const one = all[shown]!;
  const move = (e: KeyboardEvent) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
    if (!step) return;
    const next = (shown + step + all.length) % all.length;
    setShown(next);
    document.getElementById(`tab-${next}`)?.focus();
  };
  return (
    <section class="panel" aria-label="The code that did it">
      <header class="code-head">
        <h2>The code that did it</h2>
        <div class="tabs" role="tablist" aria-label="Ways" onKeyDown={move}>
          {all.map((s, i) => (
            <button type="button" role="tab" key={s.name} id={`tab-${i}`} aria-selected={i === shown} aria-controls="snippet" tabIndex={i === shown ? 0 : -1} onClick={() => setShown(i)}>
              {s.name}
            </button>
          ))}
        </div>
      </header>
      <div id="snippet" role="tabpanel" aria-labelledby={`tab-${shown}`} class="snippet">
        <div class="snippet-head">
          <p class="muted">{one.lead}</p>
          <CopyButton text={() => one.code} label="Copy" />
        </div>
        <pre tabIndex={0}>
          <code>{one.code}</code>
        </pre>
      </div>
    </section>
  );
}
