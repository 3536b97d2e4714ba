/** A chart over time with decisions marked on it, and the table behind it. */

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import uPlot from "uplot";
import { clock, dateTime, day, inUnit, inUnitShort, words, zoneName } from "../lib/format";
import { valueOf } from "../lib/measures";
import type { SeriesPoint } from "../lib/series";
import type { ChartDefinition, Configuration, Decision, Measure } from "../live/protocol";
import type { Gap } from "../live/state";
import { useRemembered } from "./live";
import { Button, Card } from "./parts";

const HEIGHT = 190;

export interface Shown {
  points: SeriesPoint[];
  decisions: Decision[];
  gaps: Gap[];
  fromMs: number;
  toMs: number;
}

interface Props extends Shown {
  definition: ChartDefinition;
  config: Configuration;
  currency: string;
  zone: string;
  /** What a value stands for, where it is not just its window. */
  note: string;
}

export function Chart(props: Props) {
  const { definition, config, points, zone } = props;
  const [asTable, setAsTable] = useRemembered(`table/${definition.id}`, false);
  const measures = useMemo(
    () => definition.measures.flatMap((id) => config.measures.filter((measure) => measure.id === id)),
    [definition, config],
  );
  return (
    <Card
      title={props.note ? `${definition.title}, ${props.note}` : definition.title}
      aside={
        <Button
          aria-label={`${asTable ? "Show chart" : "Show table"}: ${definition.title}`}
          className="min-h-6! border-transparent! px-1.5! text-xs text-muted"
          onClick={() => setAsTable(!asTable)}
        >
          {asTable ? "Show chart" : "Show table"}
        </Button>
      }
    >
      {points.length === 0 ? (
        <p className="px-3 py-12 text-center text-muted">No events in this span.</p>
      ) : asTable ? (
        <PointsTable {...props} measures={measures} />
      ) : (
        <>
          <p className="sr-only">{summary(props, measures)}</p>
          <Plot {...props} measures={measures} />
          <p className="px-3 pb-1.5 text-xs text-muted">
            {props.toMs - props.fromMs > 12 * 3_600_000
              ? `${dateTime(props.fromMs, zone)} – ${dateTime(props.toMs, zone)}`
              : `${clock(props.fromMs, zone)} – ${clock(props.toMs, zone)} ${zoneName(props.toMs, zone)}`}
          </p>
        </>
      )}
    </Card>
  );
}

function summary({ points, config, currency, zone }: Props, measures: Measure[]): string {
  const last = points.at(-1);
  if (!last) return "";
  const parts = measures.map((measure) => {
    const values = points.map((p) => valueOf(measure, p.counters, config.counters)).filter((v) => v !== null);
    if (values.length === 0) return `${measure.title}: undefined throughout`;
    const low = inUnit(Math.min(...values), measure.unit, currency);
    const high = inUnit(Math.max(...values), measure.unit, currency);
    return `${measure.title} between ${low} and ${high}`;
  });
  return `${parts.join("; ")}; up to ${dateTime(last.startMs, zone)}. The button above shows all values.`;
}

function PointsTable({ points, config, currency, zone, measures, definition }: Props & { measures: Measure[] }) {
  const newest = [...points].reverse();
  return (
    <div tabIndex={0} role="region" aria-label={`${definition.title}, all values`} className="max-h-60 overflow-auto">
      <table className="w-full text-right">
        <thead className="sticky top-0 bg-raised">
          <tr>
            <th scope="col" className="px-3 py-1 text-left font-medium text-muted">
              Window from ({zoneName(newest[0]?.startMs ?? 0, zone)})
            </th>
            {measures.map((measure) => (
              <th key={measure.id} scope="col" className="px-3 py-1 font-medium text-muted" title={measure.explain}>
                {measure.title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {newest.map((point) => (
            <tr key={point.startMs} className="border-t border-line">
              <th scope="row" className="px-3 py-0.5 text-left font-normal" title={dateTime(point.startMs, zone)}>
                {clock(point.startMs, zone)}
              </th>
              {measures.map((measure) => (
                <td key={measure.id} className="px-3 py-0.5">
                  {inUnit(valueOf(measure, point.counters, config.counters), measure.unit, currency)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function Plot(props: Props & { measures: Measure[] }) {
  const { points, decisions, gaps, fromMs, toMs, config, currency, zone, measures, definition } = props;
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const marks = useRef({ decisions, gaps });
  marks.current = { decisions, gaps };
  const [theme, setTheme] = useState(document.documentElement.dataset.theme);

  useEffect(() => {
    const changed = () => setTheme(document.documentElement.dataset.theme);
    addEventListener("penstock:theme", changed);
    return () => removeEventListener("penstock:theme", changed);
  }, []);

  const data = useMemo<uPlot.AlignedData>(
    () => [
      points.map((point) => point.startMs / 1_000),
      ...measures.map((measure) => points.map((point) => valueOf(measure, point.counters, config.counters))),
    ],
    [points, measures, config],
  );
  const latest = useRef({ data, fromMs, toMs });
  latest.current = { data, fromMs, toMs };

  useLayoutEffect(() => {
    const at = place.current;
    if (!at || !theme) return;
    const made = new uPlot(
      options({ measures, currency, zone, width: at.clientWidth, definition, marks, latest }),
      latest.current.data,
      at,
    );
    plot.current = made;
    showNewest(made);
    const sizes = new ResizeObserver(() => {
      if (at.clientWidth > 0) made.setSize({ width: at.clientWidth, height: HEIGHT });
    });
    sizes.observe(at);
    return () => {
      sizes.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [measures, currency, zone, definition, theme]);

  useEffect(() => {
    const shown = plot.current;
    if (!shown) return;
    shown.setData(data);
    showNewest(shown);
  }, [data, fromMs, toMs, decisions, gaps]);

  return <div ref={place} className="overflow-hidden px-1 pt-1" aria-hidden="true" />;
}

function lonely(shown: uPlot, series: number): number[] {
  const values = shown.data[series] ?? [];
  const found: number[] = [];
  for (let at = 0; at < values.length; at += 1) {
    if (values[at] != null && values[at - 1] == null && values[at + 1] == null) found.push(at);
  }
  return found;
}

/** While nobody points at the chart its legend has the newest values. */
function showNewest(shown: uPlot): void {
  const last = (shown.data[0]?.length ?? 0) - 1;
  if (last >= 0 && (shown.cursor.left ?? -1) < 0) shown.setLegend({ idx: last }, false);
}

interface Made {
  measures: Measure[];
  currency: string;
  zone: string;
  width: number;
  definition: ChartDefinition;
  marks: { current: { decisions: Decision[]; gaps: Gap[] } };
  latest: { current: { fromMs: number; toMs: number } };
}

function options({ measures, currency, zone, width, definition, marks, latest }: Made): uPlot.Options {
  const { draw, shared_axis: shared } = definition;
  const scaleOf = (measure: Measure) => (shared ? (measures[0] ?? measure).id : measure.id);
  const axed = shared ? measures.slice(0, 1) : measures;
  const colours = [colour("accent"), colour("second")];
  const muted = colour("muted");
  const font = "11px Inter, 'Liberation Sans', system-ui, sans-serif";
  const grid = { stroke: colour("grid"), width: 1 };
  const axis = { stroke: muted, font, ticks: { show: false }, grid };
  return {
    width,
    height: HEIGHT,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1_000), zone),
    padding: [8, axed.length > 1 ? 0 : 10, 0, 0],
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
    legend: { live: true },
    scales: {
      x: { time: true, range: () => [latest.current.fromMs / 1_000, latest.current.toMs / 1_000] },
      ...Object.fromEntries(
        axed.map((measure) => [
          measure.id,
          { range: (_: uPlot, _min: number, max: number) => [0, max > 0 ? max * 1.08 : LEAST[measure.unit]] as [number, number] },
        ]),
      ),
    },
    axes: [
      {
        ...axis,
        size: 28,
        values: (_, splits, _space, _found, step) =>
          splits.map((at) => {
            if (step >= 86_400) return day(at * 1_000, zone);
            return step < 60 ? clock(at * 1_000, zone) : clock(at * 1_000, zone).slice(0, 5);
          }),
        space: 64,
      },
      ...axed.map((measure, index) => ({
        ...axis,
        scale: measure.id,
        side: (index === 0 ? 3 : 1) as uPlot.Axis.Side,
        grid: { ...grid, show: index === 0 },
        size: 52,
        values: (_: uPlot, splits: number[]) => splits.map((at) => inUnitShort(at, measure.unit, currency)),
      })),
    ],
    series: [
      { label: "Time", value: (_, at) => (at === null ? "–" : clock(at * 1_000, zone)) },
      ...measures.map((measure, index) => ({
        label: measure.title,
        scale: scaleOf(measure),
        stroke: colours[index % 2],
        width: 1.5,
        dash: index === 1 ? [5, 3] : undefined,
        fill: draw === "area" ? `${colours[index % 2]}26` : draw === "bars" ? `${colours[index % 2]}66` : undefined,
        paths: draw === "bars" && index === 0 ? uPlot.paths.bars?.({ size: [0.7, 14] }) : undefined,
        // A value between two undefined ones has no line to be part of.
        points: { show: true, size: 4, filter: lonely },
        spanGaps: false,
        value: (_: uPlot, value: number | null) => inUnit(value, measure.unit, currency),
      })),
    ],
    hooks: {
      drawClear: [(shown) => drawGaps(shown, marks.current.gaps)],
      draw: [(shown) => drawDecisions(shown, marks.current.decisions)],
      setCursor: [showNewest],
    },
  };
}

/** Height of an axis on which everything is zero. */
const LEAST: Record<Measure["unit"], number> = { count: 1, factor: 1, share: 0.01, money: 1_000_000 };

function drawGaps(shown: uPlot, gaps: Gap[]): void {
  const { ctx, bbox } = shown;
  ctx.save();
  ctx.fillStyle = `${colour("warn")}22`;
  for (const gap of gaps) {
    const from = Math.max(bbox.left, shown.valToPos(gap.fromMs / 1_000, "x", true));
    const to = Math.min(bbox.left + bbox.width, shown.valToPos(gap.toMs / 1_000, "x", true));
    if (to > from) ctx.fillRect(from, bbox.top, Math.max(2, to - from), bbox.height);
  }
  ctx.restore();
}

/** One sign per kind, so that colour is not the only one. */
export const SIGNS: Record<string, string> = {
  pause: "II",
  resume: "▶",
  set_bid: "B",
  set_budget: "€",
  set_pacing: "P",
  set_bid_modifiers: "M",
  halt: "■",
  proceed: "▷",
};

function drawDecisions(shown: uPlot, decisions: Decision[]): void {
  const { ctx, bbox } = shown;
  const ratio = uPlot.pxRatio;
  ctx.save();
  ctx.lineWidth = ratio;
  ctx.setLineDash([3 * ratio, 3 * ratio]);
  ctx.font = `600 ${10 * ratio}px Inter, 'Liberation Sans', system-ui, sans-serif`;
  ctx.textAlign = "center";
  let lastX = -Infinity;
  for (const decision of [...decisions].sort((a, b) => a.ts_ms - b.ts_ms)) {
    const x = shown.valToPos(decision.ts_ms / 1_000, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    const tone = decision.kind === "pause" || decision.kind === "halt" ? "bad" : "muted";
    ctx.strokeStyle = ctx.fillStyle = colour(tone);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top + 10 * ratio);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    // Signs of decisions close together would cover one another.
    if (x - lastX < 10 * ratio) continue;
    ctx.fillText(SIGNS[decision.kind] ?? words(decision.kind).charAt(0), x, bbox.top + 8 * ratio);
    lastX = x;
  }
  ctx.restore();
}
