// What is shown is in the address, so that a link shows the same to somebody else:
// #/users/user_123?topic=submissionUpdate
import { signal } from "@preact/signals";

export interface Route {
  /** The parts of the path, decoded: ["users", "user_123"]. Never empty. */
  path: string[];
  query: URLSearchParams;
}

export const route = signal(parse(location.hash));

addEventListener("hashchange", () => {
  const before = route.value.path.join("/");
  route.value = parse(location.hash);
  if (route.value.path.join("/") !== before) scrollTo(0, 0);
});

function parse(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const parts = path.split("/").filter(Boolean).map(decode);
  return { path: parts.length ? parts : ["overview"], query: new URLSearchParams(query) };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** href is the address of a view. Empty values are left out. */
export function href(path: string[], query: Record<string, string | undefined> = {}): string {
  const q = new URLSearchParams(Object.entries(query).filter((e): e is [string, string] => Boolean(e[1])));
  const text = q.toString();
  return `#/${path.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

export function go(path: string[], query: Record<string, string | undefined> = {}): void {
  location.hash = href(path, query);
}

/** setQuery changes values of this view without a step in the browser's history. */
export function setQuery(change: Record<string, string | undefined>): void {
  const { path, query } = route.value;
  const target = href(path, { ...Object.fromEntries(query), ...change });
  history.replaceState(null, "", target);
  route.value = parse(target);
}

/** find is where the search box leads: offsets and users look different. */
export function find(text: string): void {
  const wanted = text.trim();
  if (!wanted) return;
  go([/^\d+-\d+$/.test(wanted) ? "messages" : "users", wanted]);
}
