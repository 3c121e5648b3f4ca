import "uplot/dist/uPlot.min.css";
import "../shared/base.css";
import "./console.css";
import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { span } from "../shared/format";
import { Icon, type IconName, Mark } from "../shared/icons";
import { ThemeToggle } from "../shared/theme-toggle";
import { key, locked, setKey } from "./api";
import { Errors } from "./errors";
import { KeyForm } from "./keyform";
import { link, lostAt, start } from "./live";
import { Messages } from "./message";
import { Overview } from "./overview";
import { find, href, route } from "./route";
import { Send } from "./send";
import { Tail } from "./tail";
import { User } from "./user";
import { Users } from "./users";

const views: { path: string; name: string; icon: IconName }[] = [
  { path: "overview", name: "Overview", icon: "overview" },
  { path: "users", name: "Users", icon: "users" },
  { path: "messages", name: "Messages", icon: "message" },
  { path: "live", name: "Live tail", icon: "live" },
  { path: "send", name: "Send", icon: "send" },
  { path: "errors", name: "Errors", icon: "errors" },
];

function View() {
  const [name, id = ""] = route.value.path;
  switch (name) {
    case "users":
      return id ? <User key={id} id={id} /> : <Users />;
    case "messages":
      return <Messages key={id} offset={id} />;
    case "live":
      return <Tail />;
    case "send":
      return <Send />;
    case "errors":
      return <Errors />;
    default:
      return <Overview />;
  }
}

function App() {
  const here = route.value.path[0]!;
  useEffect(() => {
    const id = route.value.path[1];
    const name = views.find((v) => v.path === here)?.name ?? "Overview";
    document.title = `${id ?? name} · Socket Bridge console`;
  });
  return (
    <>
      <a class="skip" href="#main" onClick={skip}>
        Skip to the content
      </a>
      <div class="shell">
        <header class="top">
          <a class="brand" href={href(["overview"])}>
            <Mark />
            <span>Socket Bridge</span>
          </a>
          <Search />
          <LinkState />
          <ThemeToggle />
        </header>
        <nav class="nav" aria-label="Views">
          <ul>
            {views.map((v) => (
              <li key={v.path}>
                <a href={href([v.path])} aria-current={here === v.path ? "page" : undefined}>
                  <Icon name={v.icon} />
                  <span>{v.name}</span>
                </a>
              </li>
            ))}
          </ul>
          {key.value && !locked.value && (
            <button
              type="button"
              class="btn quiet tight forget"
              onClick={() => {
                setKey("");
                locked.value = true;
              }}
            >
              <Icon name="key" size={14} />
              Forget the key
            </button>
          )}
        </nav>
        <main id="main" tabIndex={-1}>
          {locked.value ? (
            <KeyForm />
          ) : (
            <>
              <Lost />
              <View />
            </>
          )}
        </main>
      </div>
    </>
  );
}

function skip(e: Event): void {
  e.preventDefault(); // the address is the view's
  document.getElementById("main")?.focus();
}

function Search() {
  const box = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const focus = (e: KeyboardEvent) => {
      const typing = e.target instanceof HTMLElement && e.target.matches("input, textarea, select");
      if (e.key !== "/" || typing || e.ctrlKey || e.metaKey || e.altKey) return;
      e.preventDefault();
      box.current?.focus();
      box.current?.select();
    };
    addEventListener("keydown", focus);
    return () => removeEventListener("keydown", focus);
  }, []);
  const submit = (e: Event) => {
    e.preventDefault();
    find(box.current!.value);
    box.current!.value = "";
    box.current!.blur();
  };
  return (
    <form class="search" role="search" aria-label="Find" onSubmit={submit}>
      <Icon name="search" size={14} />
      <input ref={box} name="find" type="search" class="input" placeholder="User id or offset" aria-label="User id or offset" aria-keyshortcuts="/" autocomplete="off" spellcheck={false} />
      <kbd aria-hidden="true">/</kbd>
    </form>
  );
}

const linkTexts = { connecting: "Connecting", connected: "Live", lost: "No connection" } as const;

function LinkState() {
  return (
    <span class={`link ${link.value}`} role="status" data-link={link.value}>
      <i aria-hidden="true" />
      <span>{linkTexts[link.value]}</span>
    </span>
  );
}

/** Lost says that what is shown is old. */
function Lost() {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => tick((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, []);
  const gone = Date.now() - lostAt.value;
  if (link.value !== "lost" || gone < 1500) return null;
  return (
    <div class="note warn" role="alert">
      <Icon name="warn" />
      <span>
        The node has not been heard of for <span aria-hidden="true">{span(gone)}</span>
        <span class="sr">some time</span>. What is shown is from before; it goes on by itself.
      </span>
    </div>
  );
}

start();
render(<App />, document.getElementById("app")!);
