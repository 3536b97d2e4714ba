/** Changes are said with their sign. */

import { expect, test } from "vitest";
import { changesIn, signed } from "../src/lib/corrections";

const nothing = { impressions: 0, clicks: 0, conversions: 0, leads: 0, spend_micros: 0, revenue_micros: 0 };

test("a change has its sign, and none where there is no change", () => {
  expect(signed(-4_200_000, "money", "EUR")).toBe("−€4.20");
  expect(signed(1_500, "count", "EUR")).toBe("+1,500");
  expect(signed(0, "money", "EUR")).toBe("€0.00");
});

test("only what changed is said", () => {
  expect(changesIn({ ...nothing, clicks: -1, spend_micros: -4_200_000 }, "EUR")).toBe("Spend −€4.20, clicks −1");
  expect(changesIn({ ...nothing, leads: 2 }, "EUR")).toBe("Leads +2");
});
