/** Local times of a campaign's time zone, as an input of type datetime-local has them. */

const formats = new Map<string, Intl.DateTimeFormat>();

function formatOf(zone: string): Intl.DateTimeFormat {
  let format = formats.get(zone);
  if (!format) {
    const two = "2-digit";
    format = new Intl.DateTimeFormat("en-GB", {
      timeZone: zone, year: "numeric", month: two, day: two, hour: two, minute: two, second: two, hourCycle: "h23",
    });
    formats.set(zone, format);
  }
  return format;
}

/** "2026-03-29T14:30" of the instant in the zone; empty for none. Throws RangeError for an unknown zone. */
export function localText(ms: number | null, zone: string): string {
  if (ms === null) return "";
  const parts = Object.fromEntries(formatOf(zone).formatToParts(ms).map((part) => [part.type, part.value]));
  return `${parts.year}-${parts.month}-${parts.day}T${parts.hour}:${parts.minute}`;
}

/** The instant of a local time in the zone; null for an empty text.
 *
 * Of a time that the clock shows twice, one of the two; one that it skips becomes the hour beside it.
 */
export function instantOf(text: string, zone: string): number | null {
  if (text === "") return null;
  const wanted = Date.parse(`${text}Z`);
  // The zone's offset at the guess; a second look settles the hours around a change of the clock.
  let guess = wanted;
  for (let look = 0; look < 2; look += 1) guess += wanted - Date.parse(`${localText(guess, zone)}Z`);
  return guess;
}

export function isZone(zone: string): boolean {
  try {
    formatOf(zone);
    return zone !== "";
  } catch {
    return false;
  }
}
