/** Which page the address names. */

export type Route =
  | { page: "campaigns" }
  | { page: "campaign"; id: string }
  | { page: "edit"; id: string }
  | { page: "new" }
  | { page: "decisions" }
  | { page: "system" }
  | { page: "unknown" };

export function parseRoute(hash: string): Route {
  const [page = "", ...rest] = hash.replace(/^#?\/?/, "").split("/");
  if (page === "" || (page === "campaigns" && rest.length === 0)) return { page: "campaigns" };
  if (page === "new" && rest.length === 0) return { page };
  const isEdit = rest.length === 2 && rest[1] === "edit";
  if (page === "campaigns" && (rest.length === 1 || isEdit) && rest[0]) {
    try {
      return { page: isEdit ? "edit" : "campaign", id: decodeURIComponent(rest[0]) };
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

export function editHref(id: string): string {
  return `${campaignHref(id)}/edit`;
}
