/** A budget and what is spent of it: a bar that says its numbers in words. */

import { money, share } from "../lib/format";
import type { Budget } from "../live/protocol";

export const PERIODS: Record<Budget["period"], string> = { day: "Daily", week: "Weekly", total: "Total" };

export function utilisation(budget: Budget): number {
  return budget.spent_micros / budget.budget_micros;
}

export function BudgetBar({ budget, currency, brief }: { budget: Budget; currency: string; brief?: boolean }) {
  const used = utilisation(budget);
  const held = Math.min(1, (budget.spent_micros + budget.in_flight_micros) / budget.budget_micros);
  const tone = used >= 1 ? "bg-bad" : used >= 0.9 ? "bg-warn" : "bg-accent";
  const spent = money(budget.spent_micros, currency);
  const whole = money(budget.budget_micros, currency, brief && budget.budget_micros % 1_000_000 === 0 ? 0 : 2);
  return (
    <div className="min-w-0">
      <div className="flex items-baseline justify-between gap-2">
        <span className="truncate">
          {spent} <span className="text-muted">of {whole}</span>
        </span>
        <span className={`font-semibold ${used >= 1 ? "text-bad" : ""}`}>{share(used, used < 0.1 ? 1 : 0)}</span>
      </div>
      <div className="relative mt-0.5 h-1.5 overflow-hidden rounded-full bg-line" aria-hidden="true">
        <div className="bar-fill absolute inset-y-0 left-0 bg-edge opacity-60" style={{ width: `${held * 100}%` }} />
        <div className={`bar-fill absolute inset-y-0 left-0 ${tone}`} style={{ width: `${Math.min(1, used) * 100}%` }} />
      </div>
    </div>
  );
}
