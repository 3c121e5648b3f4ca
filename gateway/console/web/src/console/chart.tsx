import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { clockSeconds, none } from "../shared/format";
import { onTheme } from "../shared/theme-toggle";
import { type Merge, latest, revision, times, values } from "./history";

export interface Line {
  label: string;
  field: string;
  merge: Merge;
  /** A custom property of base.css: "--c-pushed". */
  color: string;
  /** So that lines are told apart without colour. */
  dash?: number[];
  fill?: boolean;
}

export interface ChartProps {
  id: string;
  title: string;
  /** What is drawn, in a few words: the unit, and how nodes are merged. */
  hint: string;
  lines: Line[];
  format: (n: number | null) => string;
  span: number; // seconds
  node: string; // "" for all
  /** The axis goes at least so far: a quiet line stays at the bottom. */
  atLeast: number;
  /** Where ticks may be: "bytes" at powers of two, "whole" at numbers without a fraction. */
  ticks?: "bytes" | "whole";
  empty?: string;
}

const height = 168;
const steps = {
  any: undefined, // the library's own
  bytes: Array.from({ length: 50 }, (_, i) => 2 ** i),
  whole: Array.from({ length: 12 }, (_, i) => [1, 2, 5].map((n) => n * 10 ** i)).flat(),
};

// The pointer on one chart shows the same moment on all.
const together = uPlot.sync("charts");

/** Chart draws lines over time, moves with each sample, and is read with pointer or arrow keys. */
export function Chart(props: ChartProps) {
  const { id, title, hint, lines, format, span, node, atLeast, ticks } = props;
  revision.value; // drawn again with each sample
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const shownSpan = useRef(span);
  shownSpan.current = span;
  const [cursor, setCursor] = useState<number | null>(null);
  const [theme, setTheme] = useState(0);
  useEffect(() => onTheme(() => setTheme((n) => n + 1)), []);

  const data: uPlot.AlignedData = [times(span), ...lines.map((l) => values(l.field, span, l.merge, node))];
  const shape = JSON.stringify([lines, atLeast, theme]);
  useLayoutEffect(() => {
    const target = box.current!;
    const made = new uPlot(options(target, lines, format, atLeast, ticks, () => shownSpan.current, setCursor), data, target);
    plot.current = made;
    const resized = new ResizeObserver(() => made.setSize({ width: target.clientWidth, height }));
    resized.observe(target);
    return () => {
      resized.disconnect();
      made.destroy();
    };
  }, [shape]);
  useLayoutEffect(() => plot.current?.setData(data));

  const at = cursor !== null && cursor < data[0].length ? cursor : null;
  const value = (i: number) => (at === null ? latest(lines[i]!.field, lines[i]!.merge, node) : ((data[i + 1]![at] as number | null) ?? null));
  const move = (e: KeyboardEvent) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -data[0].length, End: data[0].length }[e.key];
    if (e.key === "Escape") plot.current?.setCursor({ left: -10, top: -10 });
    if (!steps || !plot.current || data[0].length === 0) return;
    e.preventDefault();
    const index = Math.min(data[0].length - 1, Math.max(0, (at ?? data[0].length) + steps));
    plot.current.setCursor({ left: plot.current.valToPos(data[0][index]!, "x"), top: 10 });
  };
  const last = data[0].length - 1;
  const blank = data[0].length === 0 || lines.length === 0;
  const said = lines.map((l, i) => `${l.label} ${format(value(i))}`).join(", ");
  return (
    <figure class="panel chart" data-chart={id}>
      <figcaption>
        <h3>{title}</h3>
        <span class="hint">{at === null ? hint : clockSeconds(data[0][at]!)}</span>
      </figcaption>
      <ul class="legend num">
        {lines.map((l, i) => (
          <li key={l.field}>
            <svg width="16" height="8" viewBox="0 0 16 8" aria-hidden="true">
              <path d="M1 4h14" stroke={`var(${l.color})`} stroke-width="2.5" stroke-linecap="butt" stroke-dasharray={l.dash?.map((n) => n / 1.5).join(" ")} />
            </svg>
            <span class="label">{l.label}</span>
            <b data-value={l.field}>{format(value(i))}</b>
          </li>
        ))}
      </ul>
      <div class="plot" ref={box} tabIndex={0} role="slider" aria-label={title} aria-roledescription="chart" aria-valuemin={0} aria-valuemax={Math.max(0, last)} aria-valuenow={at ?? Math.max(0, last)} aria-valuetext={`${at === null ? "now" : clockSeconds(data[0][at]!)}: ${said || none}`} onKeyDown={move} onBlur={() => plot.current?.setCursor({ left: -10, top: -10 })}>
        {blank && <p class="blank">{props.empty ?? "No samples yet: there is one each second."}</p>}
      </div>
    </figure>
  );
}

function options(target: HTMLElement, lines: Line[], format: (n: number | null) => string, atLeast: number, ticks: ChartProps["ticks"], span: () => number, cursor: (index: number | null) => void): uPlot.Options {
  const color = resolver(target);
  const axis: uPlot.Axis = {
    stroke: color("--faint"),
    font: "11px Inter, system-ui, sans-serif",
    grid: { stroke: color("--line"), width: 1 },
    ticks: { show: false },
  };
  return {
    width: target.clientWidth,
    height,
    padding: [8, 8, 0, 0],
    legend: { show: false },
    cursor: {
      sync: { key: together.key },
      drag: { x: false, y: false },
      points: { size: 7 },
      y: false,
    },
    scales: {
      x: { time: true, range: (_, __, max) => (max == null ? [0, 1] : [max - span(), max]) },
      y: { range: (_, __, max) => [0, Math.max(atLeast, (max ?? 0) * 1.12)] },
    },
    axes: [
      { ...axis, size: 24, gap: 6, grid: { show: false }, space: () => (span() > 60 ? 46 : 64), incrs: () => (span() > 60 ? [60, 120, 180, 300] : [10, 15, 20, 30]), values: (_, at) => at.map((t) => timeLabel(t, at.length > 1 ? at[1]! - at[0]! : 60)) },
      { ...axis, incrs: steps[ticks ?? "any"], size: (_, labels) => 14 + 6.2 * Math.max(3, ...(labels ?? []).map((l) => l.length)), gap: 6, space: 34, values: (_, at) => at.map((n) => format(n)) },
    ],
    series: [
      {},
      ...lines.map((l) => ({
        stroke: color(l.color),
        width: 1.75,
        dash: l.dash,
        fill: l.fill ? color(l.color, 0.1) : undefined,
        points: { show: false },
      })),
    ],
    hooks: { setCursor: [(u) => cursor(u.cursor.left != null && u.cursor.left >= 0 ? (u.cursor.idx ?? null) : null)] },
  };
}

function timeLabel(at: number, step: number): string {
  const text = clockSeconds(at);
  return step < 60 ? text : text.slice(0, 5);
}

/** resolver turns custom properties into colours that a canvas takes. */
function resolver(target: HTMLElement): (name: string, alpha?: number) => string {
  const style = getComputedStyle(target);
  return (name, alpha = 1) => {
    target.style.color = `var(${name})`;
    const resolved = style.color;
    target.style.color = "";
    return alpha === 1 ? resolved : resolved.replace(/rgba?\(([^,]+,[^,]+,[^,)]+).*/, `rgba($1, ${alpha})`);
  };
}
