// What several views are made of.
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { explain, key, locked } from "./api";
import { ago, clock, none } from "../shared/format";
import { Icon, type IconName } from "../shared/icons";
import { href } from "./route";
import type { Outcome } from "./types";

/** Panel is a titled part of a view. */
export function Panel({ title, hint, id, action, children }: { title: string; hint?: string; id?: string; action?: ComponentChildren; children: ComponentChildren }) {
  return (
    <section class="panel" id={id} aria-label={title}>
      <header class="panel-head">
        <h2>{title}</h2>
        {hint && <span class="hint">{hint}</span>}
        {action && <div class="panel-action">{action}</div>}
      </header>
      {children}
    </section>
  );
}

/** Empty stands where there is nothing, and says what would be there. */
export function Empty({ children }: { children: ComponentChildren }) {
  return <div class="empty">{children}</div>;
}

export function Failure({ error, again }: { error: unknown; again?: () => void }) {
  return (
    <div class="note bad" role="alert">
      <Icon name="bad" />
      <span class="grow">{explain(error)}</span>
      {again && (
        <button type="button" class="btn tight" onClick={again}>
          Try again
        </button>
      )}
    </div>
  );
}

export function Loading({ rows = 3 }: { rows?: number }) {
  return (
    <div class="skeleton" role="status">
      <span class="sr">Loading</span>
      {Array.from({ length: rows }, (_, i) => (
        <i key={i} />
      ))}
    </div>
  );
}

const outcomeIcons: Record<Outcome, IconName> = { pushed: "check", inboxed: "pause", offline: "away", duplicate: "copy", dead: "close" };

/** What an outcome means, for people who meet it for the first time. */
export const outcomeTexts: Record<Outcome, string> = {
  pushed: "A socket took it",
  inboxed: "It waits for the user's next page",
  offline: "Nobody was there, and the sender did not want it kept",
  duplicate: "Every socket had it already",
  dead: "It broke the rules; it is a dead letter",
};

export function OutcomeTag({ outcome, code }: { outcome: Outcome; code?: string | undefined }) {
  return (
    <span class={`outcome ${outcome}`} title={outcomeTexts[outcome]}>
      <Icon name={outcomeIcons[outcome] ?? "info"} size={12} />
      {outcome}
      {code && <span class="code">{code}</span>}
    </span>
  );
}

export function UserLink({ user }: { user: string }) {
  return user ? (
    <a class="wrap" href={href(["users", user])}>
      {user}
    </a>
  ) : (
    <span class="muted">not readable</span>
  );
}

export function OffsetLink({ offset }: { offset: string | undefined }) {
  return offset && offset !== "0-0" ? (
    <a class="mono nowrap" href={href(["messages", offset])}>
      {offset}
    </a>
  ) : (
    <span class="muted">{none}</span>
  );
}

/** Time is the local time of day, and on hover the whole of it. */
export function Time({ at, relative = false }: { at: string; relative?: boolean }) {
  return (
    <time class="num nowrap" dateTime={at} title={at}>
      {relative ? ago(at) : clock(at)}
    </time>
  );
}

export function NodeName({ id }: { id: string }) {
  return (
    <span class="mono node-name" title={id}>
      {id}
    </span>
  );
}

export interface Loaded<T> {
  data: T | undefined;
  error: unknown;
  loading: boolean;
  again: () => void;
}

/**
 * useLoaded loads something, and again whenever a dependency changes or so many ms
 * have passed. What was shown stays until the next answer is there, unless the
 * dependencies are others.
 */
export function useLoaded<T>(load: (signal: AbortSignal) => Promise<T>, dependencies: unknown[], everyMs = 0): Loaded<T> {
  const [state, setState] = useState<{ of: string; data?: T; error?: unknown }>({ of: "" });
  const again = useRef(() => {});
  const of = JSON.stringify(dependencies);
  useEffect(() => {
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let loading = false;
    let wanted = false; // once more, after the load that is under way: its answer is shown however often that is asked for
    const run = async () => {
      wanted = loading;
      if (loading) return;
      loading = true;
      clearTimeout(timer);
      if (!document.hidden || !everyMs) {
        try {
          const data = await load(stop.signal);
          if (!stop.signal.aborted) setState({ of, data });
        } catch (error) {
          if (!stop.signal.aborted) setState((before) => (before.of === of && before.data ? { ...before, error } : { of, error }));
        }
      }
      loading = false;
      if (stop.signal.aborted) return;
      if (wanted) void run();
      else if (everyMs) timer = setTimeout(run, everyMs);
    };
    again.current = run;
    void run();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [of, key.value, locked.value]);
  const mine = state.of === of;
  return { data: mine ? state.data : undefined, error: mine ? state.error : undefined, loading: !mine, again: () => again.current() };
}
