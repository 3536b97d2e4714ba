/** Dark, light, or as the system has it. */

export type Theme = "system" | "light" | "dark";
const PLACE = "penstock.theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

export function storedTheme(): Theme {
  const stored = read(PLACE);
  return stored === "light" || stored === "dark" ? stored : "system";
}

export function applyTheme(theme: Theme): void {
  const shown = theme === "system" ? (dark.matches ? "dark" : "light") : theme;
  document.documentElement.dataset.theme = shown;
  write(PLACE, theme === "system" ? null : theme);
  dispatchEvent(new Event("penstock:theme"));
}

dark.addEventListener("change", () => applyTheme(storedTheme()));

/** Storage may be closed to the page (private windows); then nothing is remembered. */
export function read(place: string, storage: "localStorage" | "sessionStorage" = "localStorage"): string | null {
  try {
    return window[storage].getItem(place);
  } catch {
    return null;
  }
}

export function write(
  place: string,
  value: string | null,
  storage: "localStorage" | "sessionStorage" = "localStorage",
): void {
  try {
    if (value === null) window[storage].removeItem(place);
    else window[storage].setItem(place, value);
  } catch {
    // Then it lasts as long as the page.
  }
}
