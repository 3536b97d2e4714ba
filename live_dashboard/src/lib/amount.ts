/** Amounts that people type. */

/** "1,250.50" or "1250,5" -> micros; null for an empty field, undefined for what is no amount above zero. */
export function parseAmount(text: string): number | null | undefined {
  const plain = text.trim().replaceAll(/[\s'_]/g, "");
  if (plain === "") return null;
  const match = /^(\d{1,3}(?:,\d{3})+|\d+)(?:\.(\d{1,6}))?$/.exec(plain) ?? /^(\d+),(\d{1,2})$/.exec(plain);
  if (!match) return undefined;
  const [, whole = "", fraction = ""] = match;
  const micros = Number(whole.replaceAll(",", "")) * 1_000_000 + Number(fraction.padEnd(6, "0"));
  return micros > 0 && Number.isSafeInteger(micros) ? micros : undefined;
}

/** Micros as an input shows them: 12.5 -> "12.50", without a sign of currency. */
export function amountText(micros: number | null): string {
  if (micros === null) return "";
  const fraction = String(micros % 1_000_000).padStart(6, "0").replace(/0{1,4}$/, "");
  return `${Math.floor(micros / 1_000_000)}.${fraction}`;
}
