// How values are written, the same everywhere.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const oneDigit = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const twoDigits = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const none = "–";

export function count(n: number | null | undefined): string {
  if (n == null) return none;
  return n >= 100_000 ? compact.format(n) : whole.format(n);
}

export function rate(n: number | null | undefined): string {
  if (n == null) return none;
  if (n >= 100_000) return compact.format(n);
  return n < 10 && !Number.isInteger(n) ? oneDigit.format(n) : whole.format(n);
}

export function millis(ms: number | null | undefined): string {
  if (ms == null) return none;
  if (ms >= 60_000) return span(ms);
  if (ms >= 1000) return `${twoDigits.format(ms / 1000)} s`;
  return `${(ms < 10 ? twoDigits : ms < 100 ? oneDigit : whole).format(ms)} ms`;
}

export function bytes(n: number | null | undefined): string {
  if (n == null) return none;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return `${(n < 10 && i > 0 ? oneDigit : whole).format(n)} ${units[i]}`;
}

/** span writes a length of time in its two largest units: "3 h 12 min". */
export function span(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000));
  const parts: [number, string][] = [
    [Math.floor(s / 86_400), "d"],
    [Math.floor(s / 3600) % 24, "h"],
    [Math.floor(s / 60) % 60, "min"],
    [s % 60, "s"],
  ];
  const first = parts.findIndex(([n]) => n > 0);
  if (first < 0) return "0 s";
  return parts.slice(first, first + 2).filter(([n]) => n > 0).map(([n, u]) => `${n} ${u}`).join(" ");
}

export function ago(at: string | number, now = Date.now()): string {
  const ms = now - (typeof at === "number" ? at : Date.parse(at));
  return ms < 1500 ? "now" : `${span(ms)} ago`;
}

const clockFormat = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 });
const dayFormat = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const secondFormat = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** clock is the local time of day, to the millisecond. */
export function clock(at: string): string {
  const time = Date.parse(at);
  return Number.isNaN(time) ? none : clockFormat.format(time);
}

/** localTimes writes the times in a text of the API as they are everywhere here: local. */
export function localTimes(text: string): string {
  return text.replaceAll(/(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d\.\d{3}) UTC/g, (_, day: string, time: string) => {
    const at = `${day}T${time}Z`;
    const today = new Date(at).toDateString() === new Date().toDateString();
    return today ? clock(at) : `${dayFormat.format(Date.parse(at))}, ${clock(at)}`;
  });
}

export function clockSeconds(seconds: number): string {
  return secondFormat.format(seconds * 1000);
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}
