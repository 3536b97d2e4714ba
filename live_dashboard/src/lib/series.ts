/** Points of a chart from the hub's ring or from KPI rows of the api. */

import type { Counters, Point } from "../live/protocol";

export interface SeriesPoint {
  startMs: number;
  counters: Counters;
}

/** Points of the last `spanMs` in steps of `stepMs`; a window without events has counters of 0. */
export function livePoints(points: Point[], untilMs: number, spanMs: number, stepMs: number): SeriesPoint[] {
  if (points.length === 0) return [];
  const byStart = new Map(points.map((point) => [point[0], point]));
  const width = (points[0]?.length ?? 1) - 1;
  const newest = Math.max(points.at(-1)?.[0] ?? 0, Math.floor(untilMs / stepMs) * stepMs);
  // Before the first point nothing is known, which is not the same as nothing having happened.
  const first = Math.max(newest - spanMs + stepMs, points[0]?.[0] ?? 0);
  const series: SeriesPoint[] = [];
  for (let startMs = first; startMs <= newest; startMs += stepMs) {
    const point = byStart.get(startMs);
    series.push({ startMs, counters: point ? point.slice(1) : new Array<number>(width).fill(0) });
  }
  return series;
}

export interface KpiRow {
  window_start_ms: number;
  [name: string]: number | string | null;
}

/** KPI rows as points, gaps between windows as zeros; `stepMs` 0 leaves gaps alone. */
export function storedPoints(rows: KpiRow[], names: string[], stepMs: number): SeriesPoint[] {
  const series: SeriesPoint[] = [];
  for (const row of rows) {
    const last = series.at(-1);
    if (last && stepMs > 0) {
      for (let at = last.startMs + stepMs; at < row.window_start_ms; at += stepMs) {
        series.push({ startMs: at, counters: names.map(() => 0) });
      }
    }
    series.push({ startMs: row.window_start_ms, counters: names.map((name) => Number(row[name] ?? 0)) });
  }
  return series;
}

/** Each point with the counters of the `windows` up to it added together: a rolling sum. */
export function rollingPoints(series: SeriesPoint[], windows: number): SeriesPoint[] {
  if (windows <= 1) return series;
  return series.map(({ startMs }, at) => {
    const summed = series.slice(Math.max(0, at - windows + 1), at + 1);
    const counters = (series[at]?.counters ?? []).map((_, name) =>
      summed.reduce((sum, point) => sum + (point.counters[name] ?? 0), 0),
    );
    return { startMs, counters };
  });
}
