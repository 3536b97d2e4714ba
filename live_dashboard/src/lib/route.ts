/** Which page the address names. */

export type Route =
  | { page: "campaigns" }
  | { page: "campaign"; id: string }
  | { page: "decisions" }
  | { page: "system" }
  | { page: "unknown" };

export function parseRoute(hash: string): Route {
  const [page = "", ...rest] = hash.replace(/^#?\/?/, "").split("/");
  if (page === "" || (page === "campaigns" && rest.length === 0)) return { page: "campaigns" };
  if (page === "campaigns" && rest.length === 1 && rest[0]) {
    try {
      return { page: "campaign", id: decodeURIComponent(rest[0]) };
    } catch {
      return { page: "unknown" };
    }
  }
  if ((page === "decisions" || page === "system") && rest.length === 0) return { page };
  return { page: "unknown" };
}

export function campaignHref(id: string): string {
  return `#/campaigns/${encodeURIComponent(id)}`;
}
