/** Puts what the server refused beside the field that it is about. */

import type { FieldError } from "./api";

/** Details by field; under "" what belongs to none of them.
 *
 * A rule over several fields comes with the place of the whole; it goes to the field that its sentence names last.
 */
export function placed(errors: FieldError[], titles: Record<string, string>): Record<string, string> {
  const found: Record<string, string> = {};
  const names = Object.keys(titles).sort((a, b) => b.length - a.length);
  for (const { field, detail } of errors) {
    const text = detail.replace(/^Value error, /, "");
    const plain = (name: string) => name.split(".").at(-1) ?? name;
    const mentioned = names
      .map((name) => ({ name, at: Math.max(lastWord(text, plain(name)), lastWord(text, plain(name).replace(/_ms$/, ""))) }))
      .filter((each) => each.at >= 0)
      .sort((a, b) => b.at - a.at)[0]?.name;
    const place = field in titles ? field : (mentioned ?? "");
    let told = text;
    for (const name of names) told = told.replace(new RegExp(`\\b${plain(name).replace(/_ms$/, "(_ms)?")}\\b`, "g"), titles[name] ?? name);
    const sentence = `${told.charAt(0).toUpperCase()}${told.slice(1)}`;
    found[place] = found[place] ? `${found[place]}; ${sentence}` : place === "" && field ? `${field}: ${sentence}` : sentence;
  }
  return found;
}

function lastWord(text: string, word: string): number {
  const at = [...text.matchAll(new RegExp(`\\b${word}\\b`, "g"))].at(-1);
  return at?.index ?? -1;
}
