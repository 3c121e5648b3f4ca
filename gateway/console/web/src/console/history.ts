import { signal } from "@preact/signals";
import type { Fields, Sample, Series } from "./types";

/** How much is kept and shown at most, in seconds. */
export const kept = 900;

/** How the values of several nodes make one. Percentiles do not add up: the worst node's is shown. */
export type Merge = "sum" | "max";

interface Row {
  at: number; // seconds since 1970
  nodes: Map<string, Fields>;
}

// Oldest first. A row without nodes breaks the lines: nothing was heard then.
let rows: Row[] = [];

/** Grows with each change of the rows; read it to be drawn again. */
export const revision = signal(0);

const seconds = (text: string) => Date.parse(text) / 1000;

/** load replaces everything by what the nodes have kept. */
export function load(series: Series): void {
  const every = series.everyMs / 1000;
  const bySecond = new Map<number, Row>();
  for (const node of series.nodes) {
    const from = seconds(node.from);
    const names = Object.keys(node.fields);
    const length = Math.max(0, ...names.map((n) => node.fields[n]!.length));
    for (let i = 0; i < length; i++) {
      const at = Math.round(from + i * every);
      const row = bySecond.get(at) ?? { at, nodes: new Map() };
      const fields: Fields = {};
      for (const name of names) {
        const value = node.fields[name]![i];
        if (value != null && !absent(name, value)) fields[name] = value;
      }
      row.nodes.set(node.id, fields);
      bySecond.set(at, row);
    }
  }
  rows = [...bySecond.values()].sort((a, b) => a.at - b.at);
  bridgeGaps();
  trim();
}

// The nodes' clocks and samples are not in step: a node that is a second or two behind
// the others keeps its value, or sums would dip where nothing happened.
function bridgeGaps(): void {
  const held = new Map<string, number>(); // rows in which a node's value was held
  for (const [i, row] of rows.entries()) {
    for (const [id, fields] of rows[i - 1]?.nodes ?? []) {
      const times = held.get(id) ?? 0;
      if (row.nodes.has(id)) held.delete(id);
      else if (times < 2) {
        row.nodes.set(id, fields);
        held.set(id, times + 1);
      }
    }
  }
}

// Without a message there is no latency: the API then says 0.
function absent(name: string, value: number): boolean {
  return value === 0 && /^p\d+Ms$/.test(name);
}

/** append adds a second as it comes in. */
export function append(sample: Sample): void {
  const at = seconds(sample.at);
  const last = rows.at(-1);
  if (last && at <= last.at) return; // what was loaded a moment ago reaches further
  if (last && at - last.at > 3.5) rows.push({ at: last.at + 1, nodes: new Map() });
  const nodes = new Map<string, Fields>();
  for (const { id, ...fields } of sample.nodes) {
    nodes.set(id, Object.fromEntries(Object.entries(fields as Fields).filter(([name, value]) => !absent(name, value))));
  }
  rows.push({ at, nodes });
  trim();
}

function trim(): void {
  const oldest = (rows.at(-1)?.at ?? 0) - kept;
  const first = rows.findIndex((r) => r.at >= oldest);
  if (first > 0) rows = rows.slice(first);
  revision.value++;
}

/** times are those of the last span seconds. */
export function times(span: number): number[] {
  return window(span).map((r) => r.at);
}

function window(span: number): Row[] {
  const oldest = (rows.at(-1)?.at ?? 0) - span;
  return rows.filter((r) => r.at >= oldest);
}

/** values are one field of one node, or of all nodes merged; null where there is none. */
export function values(field: string, span: number, merge: Merge, node: string): (number | null)[] {
  return window(span).map((r) => at(r, field, merge, node));
}

/** latest is the newest value, null before there is one. */
export function latest(field: string, merge: Merge, node: string): number | null {
  const row = rows.at(-1);
  return row ? at(row, field, merge, node) : null;
}

function at(row: Row, field: string, merge: Merge, node: string): number | null {
  if (node) return row.nodes.get(node)?.[field] ?? null;
  let result: number | null = null;
  for (const fields of row.nodes.values()) {
    const value = fields[field];
    if (value === undefined) continue;
    result = result === null ? value : merge === "sum" ? result + value : Math.max(result, value);
  }
  return result;
}

/** topics are the names that messages had in the span, busiest first. */
export function topics(span: number, node: string): string[] {
  const sums = new Map<string, number>();
  for (const row of window(span)) {
    for (const [id, fields] of row.nodes) {
      if (node && id !== node) continue;
      for (const name in fields) {
        if (name.startsWith("topic.")) sums.set(name, (sums.get(name) ?? 0) + fields[name]!);
      }
    }
  }
  return [...sums].filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]).map(([name]) => name.slice("topic.".length));
}
