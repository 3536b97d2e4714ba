import { describe, expect, it } from "vitest";
import { amountText, parseAmount } from "../src/lib/amount";
import { age, bytes, clock, dateTime, fieldValue, inUnit, inUnitShort, money, share } from "../src/lib/format";

describe("money", () => {
  it.each([
    [412_100_000, "EUR", "€412.10"],
    [4_200, "EUR", "€0.0042"],
    [0, "USD", "$0.00"],
    [1_234_567_890_000, "USD", "$1,234,567.89"],
    [1_377_510_000, "JPY", "¥1,378"],
    [17_890_000, "JPY", "¥17.89"],
    [-5_000_000, "GBP", "-£5.00"],
  ])("%i micros of %s are %s", (micros, currency, text) => {
    expect(money(micros, currency)).toBe(text);
  });

  it("a currency that the browser does not know is still shown", () => {
    expect(money(1_500_000, "not-a-code")).toBe("1.50 not-a-code");
  });

  it("is plain for events without a definition, whose currency nobody knows", () => {
    expect(money(1_234_500_000, "")).toBe("1,234.50");
    expect(inUnitShort(1_234_500_000, "money", "")).toBe("1,234.50");
  });
});

describe("units", () => {
  it("an undefined rate is a dash and not a zero", () => {
    expect(inUnit(null, "share", "EUR")).toBe("–");
    expect(inUnit(0, "share", "EUR")).toBe("0.00%");
  });

  it("the axis is short where the table is exact", () => {
    expect(inUnitShort(1_234_000_000, "money", "EUR")).toBe("€1.2k");
    expect(inUnit(1_234_000_000, "money", "EUR")).toBe("€1,234.00");
  });

  it("a share of one is a percentage", () => {
    expect(share(0.0234)).toBe("2.34%");
  });

  it.each([
    [0, "now"],
    [999, "now"],
    [1_000, "1 s"],
    [59_999, "59 s"],
    [60_000, "1 min"],
    [7_200_000, "2 h"],
    [172_800_000, "2 d"],
  ])("%i ms ago is %s", (ms, text) => {
    expect(age(ms)).toBe(text);
  });

  it("bytes have a decimal prefix", () => {
    expect(bytes(999)).toBe("999 B");
    expect(bytes(1_500_000)).toBe("1.5 MB");
  });
});

describe("time", () => {
  const summer = Date.UTC(2026, 6, 1, 12);

  it("is in the zone asked for, and names it", () => {
    expect(clock(summer, "Europe/Berlin")).toBe("14:00:00");
    expect(dateTime(summer, "Europe/Berlin")).toContain("CEST");
    expect(dateTime(summer, "UTC")).toContain("12:00:00 UTC");
  });

  it("that no date can have is a dash", () => {
    expect(dateTime(2 ** 62, "UTC")).toBe("–");
  });

  it("falls back to UTC for a zone that the browser does not know", () => {
    expect(clock(summer, "Mars/Olympus")).toBe("12:00:00");
  });
});

describe("fields of a decision", () => {
  it.each([
    ["bid_micros", 2_350_000, "€2.35"],
    ["spend_share", 0.41, "41.00%"],
    ["multiplier", 1.12345, "1.123"],
    ["paused", true, "yes"],
    ["note", null, "–"],
  ])("%s %s is %s", (name, value, text) => {
    expect(fieldValue(name, value, "EUR")).toBe(text);
  });
});

describe("amounts that people type", () => {
  it.each([
    ["1250.50", 1_250_500_000],
    ["1,250.50", 1_250_500_000],
    ["1250,5", 1_250_500_000],
    [" 500 ", 500_000_000],
    ["0.000001", 1],
    ["", null],
    ["0", undefined],
    ["-5", undefined],
    ["12,34,5", undefined],
    ["many", undefined],
    ["1e9", undefined],
  ])("%j is %s micros", (text, micros) => {
    expect(parseAmount(text)).toBe(micros);
  });

  it.each([1, 500_000_000, 1_250_500_000, 123_456_789])("%i micros written and read again are the same", (micros) => {
    expect(parseAmount(amountText(micros))).toBe(micros);
  });
});
