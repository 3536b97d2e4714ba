/** Numbers, money and time as people read them. Money comes in micros: 1 unit = 1,000,000 micros. */

import type { Unit } from "../live/protocol";

/** Shown where a rate has no denominator yet. */
export const NONE = "–";

const MICROS = 1_000_000;
const formats = new Map<string, Intl.NumberFormat>();

function numberFormat(key: string, options: Intl.NumberFormatOptions): Intl.NumberFormat {
  let format = formats.get(key);
  if (!format) {
    format = new Intl.NumberFormat("en-GB", options);
    formats.set(key, format);
  }
  return format;
}

/** Digits of an amount: more where it is small, since a click may cost 0.0042; none for 1,377 yen. */
function digitsOf(size: number, currency: string): number {
  if (size > 0 && size < 0.1) return 4;
  return size >= 100 && WITHOUT_CENTS.has(currency) ? 0 : 2;
}

const WITHOUT_CENTS = new Set(["JPY", "KRW", "VND", "CLP", "ISK", "HUF", "IDR", "PYG", "UGX", "XAF", "XOF"]);

export function money(micros: number, currency: string, digits?: number): string {
  const amount = micros / MICROS;
  const most = digits ?? digitsOf(Math.abs(amount), currency);
  const least = Math.min(most, 2);
  const key = `${currency}/${most}`;
  try {
    return numberFormat(key, {
      style: "currency",
      currency,
      currencyDisplay: "narrowSymbol",
      minimumFractionDigits: least,
      maximumFractionDigits: most,
    }).format(amount);
  } catch {
    // An amount of events without a definition, whose currency nobody has said.
    const plain = numberFormat(`plain/${most}`, { minimumFractionDigits: least, maximumFractionDigits: most });
    return `${plain.format(amount)} ${currency}`.trim();
  }
}

/** A short amount for the axis of a chart. */
export function moneyShort(micros: number, currency: string): string {
  const amount = micros / MICROS;
  if ((amount !== 0 && Math.abs(amount) < 10) || currency.length !== 3) return money(micros, currency);
  return numberFormat(`${currency}/short`, {
    style: "currency",
    currency,
    currencyDisplay: "narrowSymbol",
    notation: "compact",
    maximumFractionDigits: 1,
  }).format(amount);
}

export function count(value: number): string {
  return numberFormat("count", { maximumFractionDigits: 0 }).format(value);
}

export function countShort(value: number): string {
  return numberFormat("short", { notation: "compact", maximumFractionDigits: 1 }).format(value);
}

export function share(value: number, digits = 2): string {
  return numberFormat(`share/${digits}`, {
    style: "percent",
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  }).format(value);
}

export function factor(value: number): string {
  return numberFormat("factor", { minimumFractionDigits: 2, maximumFractionDigits: 2 }).format(value);
}

/** A measure's value in its unit; `–` for one that is undefined. */
export function inUnit(value: number | null, unit: Unit, currency: string): string {
  if (value === null) return NONE;
  switch (unit) {
    case "money":
      return money(value, currency);
    case "share":
      return share(value);
    case "factor":
      return factor(value);
    default:
      return count(value);
  }
}

export function inUnitShort(value: number, unit: Unit, currency: string): string {
  switch (unit) {
    case "money":
      return moneyShort(value, currency);
    case "share":
      return share(value, value !== 0 && Math.abs(value) < 0.1 ? 1 : 0);
    case "factor":
      return numberFormat("factor1", { maximumFractionDigits: 1 }).format(value);
    default:
      return countShort(value);
  }
}

/** A length of time: "30 s", "6 min", "2 h". */
export function duration(ms: number): string {
  if (ms < 60_000) return `${ms / 1_000} s`;
  return ms < 3_600_000 ? `${ms / 60_000} min` : `${ms / 3_600_000} h`;
}

/** How long ago, in one unit: "now", "4 s", "3 min", "2 h", "5 d". */
export function age(ms: number): string {
  if (ms < 1_000) return "now";
  if (ms < 60_000) return `${Math.floor(ms / 1_000)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min`;
  if (ms < 86_400_000) return `${Math.floor(ms / 3_600_000)} h`;
  return `${Math.floor(ms / 86_400_000)} d`;
}

export function bytes(value: number): string {
  if (value < 1_000) return `${count(value)} B`;
  const power = Math.min(4, Math.floor(Math.log10(value) / 3));
  return `${(value / 1_000 ** power).toFixed(1)} ${["B", "kB", "MB", "GB", "TB"][power]}`;
}

const times = new Map<string, Intl.DateTimeFormat>();

function timeFormat(zone: string, options: Intl.DateTimeFormatOptions, key: string): Intl.DateTimeFormat {
  const name = `${zone}/${key}`;
  let format = times.get(name);
  if (!format) {
    try {
      format = new Intl.DateTimeFormat("en-GB", { ...options, timeZone: zone, hourCycle: "h23" });
    } catch {
      format = new Intl.DateTimeFormat("en-GB", { ...options, timeZone: "UTC", hourCycle: "h23" });
    }
    times.set(name, format);
  }
  return format;
}

/** Beyond this a date cannot be formatted, and means "never". */
const TIME_MAX = 8.64e15;

function isTime(ms: number): boolean {
  return Number.isFinite(ms) && Math.abs(ms) <= TIME_MAX;
}

/** 14:03:11 in the zone. */
export function clock(ms: number, zone: string): string {
  if (!isTime(ms)) return NONE;
  return timeFormat(zone, { hour: "2-digit", minute: "2-digit", second: "2-digit" }, "clock").format(ms);
}

/** 24 Mar in the zone. */
export function day(ms: number, zone: string): string {
  if (!isTime(ms)) return NONE;
  return timeFormat(zone, { day: "numeric", month: "short" }, "day").format(ms);
}

/** 24 Mar 2026, 14:03:11 CET: never without its zone. */
export function dateTime(ms: number, zone: string): string {
  if (!isTime(ms)) return NONE;
  return timeFormat(
    zone,
    {
      day: "numeric",
      month: "short",
      year: "numeric",
      hour: "2-digit",
      minute: "2-digit",
      second: "2-digit",
      timeZoneName: "short",
    },
    "full",
  ).format(ms);
}

/** The zone's short name at that time, such as CET or GMT+2. */
export function zoneName(ms: number, zone: string): string {
  if (!isTime(ms)) return zone;
  const parts = timeFormat(zone, { timeZoneName: "short" }, "zone").formatToParts(ms);
  return parts.find((part) => part.type === "timeZoneName")?.value ?? zone;
}

export const HERE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

/** "daily_budget_reached" -> "Daily budget reached", "target_cpa" -> "Target CPA". */
export function words(code: string): string {
  const text = code.replaceAll("_", " ").replace(/\b(cpa|cpc|cpm|ctr|cvr|roas|id)\b/g, (short) => short.toUpperCase());
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const PLATFORMS: Record<string, string> = {
  google: "Google Ads", facebook: "Meta", tiktok: "TikTok", linkedin: "LinkedIn", twitter: "X", openrtb: "OpenRTB",
};

export function platformName(platform: string): string {
  return PLATFORMS[platform] ?? words(platform);
}

/** A field of a decision: money where the name says micros, a share where it says so. */
export function fieldValue(name: string, value: unknown, currency: string): string {
  if (value === null || value === undefined) return NONE;
  if (typeof value === "number") {
    if (name.endsWith("_micros") || name.includes("_micros_")) return money(value, currency);
    if (name.endsWith("_ms")) return value > 1e12 ? dateTime(value, HERE) : `${count(value)} ms`;
    if (/share|rate|ctr|cvr/.test(name)) return share(value);
    return Number.isInteger(value) ? count(value) : String(Number(value.toPrecision(4)));
  }
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "string") return value;
  if (!Array.isArray(value) && Object.values(value).every((each) => typeof each === "number")) {
    const parts = Object.entries(value).map(([key, each]) => `${key} ${Number((each as number).toPrecision(4))}`);
    return parts.join(", ") || "none";
  }
  return JSON.stringify(value);
}

export function fieldName(name: string): string {
  return words(name.replace(/_(micros|ms)$/, "").replace("_micros_", "_"));
}
