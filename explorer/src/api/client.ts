/**
 * The API of the server that the page came from: one origin, JSON and bytes, problems as errors.
 *
 * Nothing is kept of what is answered. A token, where the server asks for one, stays in the memory
 * of this page and in the tab's session storage, so that a reload does not ask again.
 */
import type {
  Answer,
  Cohort,
  CohortSummary,
  ConditionsBody,
  Difference,
  FacetsAnswer,
  ManifestEntry,
  SeriesRecord,
  Settings,
} from "./types";

const TOKEN = "dicom-indexer.token";
const JSON_TYPE = "application/json";

/** Why a request was not answered. `code` is the stable one of the API, or `offline`. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
    readonly retryAfterS: number | null = null,
  ) {
    super(detail);
    this.name = "Problem";
  }
}

export interface File {
  name: string;
  data: Blob;
}

export type FileFormat = "csv" | "ndjson" | "parquet" | "uids" | "dicom-json";

const ENDINGS: Record<FileFormat, string> = {
  csv: "csv",
  ndjson: "ndjson",
  parquet: "parquet",
  uids: "txt",
  "dicom-json": "json",
};

export class Api {
  private token: string;

  constructor(private readonly storage: Storage | null) {
    this.token = storage?.getItem(TOKEN) ?? "";
  }

  /** Use a token from now on; "" for none. */
  signIn(token: string): void {
    this.token = token;
    if (token) this.storage?.setItem(TOKEN, token);
    else this.storage?.removeItem(TOKEN);
  }

  settings(): Promise<Settings> {
    return this.json("GET", "/api/explorer");
  }

  async newest(): Promise<number> {
    return (await this.json<{ manifest: number }>("GET", "/api/manifest")).manifest;
  }

  async manifests(): Promise<ManifestEntry[]> {
    return (await this.json<{ value: ManifestEntry[] }>("GET", "/api/manifests")).value;
  }

  search(body: ConditionsBody & Record<string, unknown>, signal?: AbortSignal): Promise<Answer> {
    return this.json("POST", "/api/search", body, signal);
  }

  list(body: ConditionsBody & Record<string, unknown>, signal?: AbortSignal): Promise<Answer> {
    return this.json("POST", "/api/series", body, signal);
  }

  similar(key: string, conditions: ConditionsBody, signal?: AbortSignal): Promise<Answer> {
    const query = new URLSearchParams();
    for (const each of conditions.filters ?? []) query.append("filter", each);
    for (const each of conditions.withUnknown ?? []) query.append("withUnknown", each);
    query.set("top", "50");
    return this.json("GET", `/api/series/${encodeURIComponent(key)}/similar?${query}`, undefined, signal);
  }

  /** A further page; `body` as of the first one, undefined where that was a GET. */
  next(link: string, body?: unknown, signal?: AbortSignal): Promise<Answer> {
    // What a proxy thinks the origin is does not matter: the page's own is the only one.
    const { pathname, search } = new URL(link, document.baseURI);
    return this.json(body === undefined ? "GET" : "POST", pathname + search, body, signal);
  }

  facets(body: ConditionsBody & Record<string, unknown>, signal?: AbortSignal): Promise<FacetsAnswer> {
    return this.json("POST", "/api/facets", body, signal);
  }

  async series(key: string): Promise<SeriesRecord[]> {
    return (await this.json<{ value: SeriesRecord[] }>("GET", `/api/series/${encodeURIComponent(key)}`)).value;
  }

  async trace(key: string): Promise<Record<string, unknown>[]> {
    const path = `/api/trace/${encodeURIComponent(key)}`;
    return (await this.json<{ value: Record<string, unknown>[] }>("GET", path)).value;
  }

  /** A small picture of a series; null where there is none. */
  async thumbnail(key: string): Promise<Blob | null> {
    const answer = await this.send("GET", `/api/series/${encodeURIComponent(key)}/thumbnail`);
    return answer.status === 204 ? null : answer.blob();
  }

  async points(
    columns: readonly string[],
    at: { manifest?: number | null; since?: number | null },
    signal?: AbortSignal,
  ): Promise<ArrayBuffer> {
    const query = new URLSearchParams();
    for (const each of columns) query.append("columns", each);
    if (at.manifest != null) query.set("manifest", String(at.manifest));
    if (at.since != null) query.set("since", String(at.since));
    return (await this.send("GET", `/api/map/points?${query}`, undefined, signal)).arrayBuffer();
  }

  async matches(body: ConditionsBody & Record<string, unknown>, signal?: AbortSignal): Promise<ArrayBuffer> {
    return (await this.send("POST", "/api/map/matches", body, signal)).arrayBuffer();
  }

  async cohorts(): Promise<CohortSummary[]> {
    return (await this.json<{ value: CohortSummary[] }>("GET", "/api/cohorts")).value;
  }

  cohort(name: string, version: number): Promise<Cohort> {
    return this.json("GET", `/api/cohorts/${encodeURIComponent(name)}?version=${version}`);
  }

  saveCohort(body: Record<string, unknown>): Promise<Cohort> {
    return this.json("POST", "/api/cohorts", body);
  }

  news(name: string, version: number): Promise<Difference> {
    return this.json("GET", `/api/cohorts/${encodeURIComponent(name)}/news?version=${version}`);
  }

  difference(from: CohortSummary, to: CohortSummary): Promise<Difference> {
    const query = new URLSearchParams({
      version: String(from.version),
      with: to.name,
      withVersion: String(to.version),
    });
    return this.json("GET", `/api/cohorts/${encodeURIComponent(from.name)}/difference?${query}`);
  }

  async cohortSeries(name: string, version: number): Promise<SeriesRecord[]> {
    const path = `/api/cohorts/${encodeURIComponent(name)}/series?version=${version}`;
    return (await this.json<{ value: SeriesRecord[] }>("GET", path)).value;
  }

  async cohortFile(name: string, version: number, format: FileFormat): Promise<File> {
    const path = `/api/cohorts/${encodeURIComponent(name)}/series?version=${version}&format=${format}`;
    return { name: `${name}-v${version}.${ENDINGS[format]}`, data: await (await this.send("GET", path)).blob() };
  }

  /** All series that meet conditions, up to 100,000, as a file. */
  async listFile(body: ConditionsBody & Record<string, unknown>, format: FileFormat): Promise<File> {
    const answer = await this.send("POST", `/api/series?format=${format}`, { ...body, top: 100_000 });
    const manifest = answer.headers.get("x-manifest") ?? "";
    return { name: `series-manifest-${manifest}.${ENDINGS[format]}`, data: await answer.blob() };
  }

  private async json<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
    return (await this.send(method, path, body, signal)).json() as Promise<T>;
  }

  private async send(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = {};
    if (body !== undefined) headers["content-type"] = JSON_TYPE;
    // One token for either host: a bearer token of `serve`, a function key of the Functions app.
    if (this.token) {
      headers["authorization"] = `Bearer ${this.token}`;
      headers["x-functions-key"] = this.token;
    }
    let answer: Response;
    try {
      answer = await fetch(path, {
        method,
        headers,
        body: body === undefined ? null : JSON.stringify(body),
        signal: signal ?? null,
        credentials: "same-origin",
        redirect: "error",
      });
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") throw error;
      throw new Problem(0, "offline", "the server cannot be reached");
    }
    if (!answer.ok) throw await problemOf(answer);
    return answer;
  }
}

async function problemOf(answer: Response): Promise<Problem> {
  const retry = Number(answer.headers.get("retry-after") ?? NaN);
  const after = Number.isFinite(retry) ? retry : null;
  try {
    const said = (await answer.json()) as { code?: unknown; detail?: unknown; title?: unknown };
    const code = typeof said.code === "string" ? said.code : "internal";
    return new Problem(answer.status, code, String(said.detail ?? said.title ?? "no reason is given"), after);
  } catch {
    // Not the API's own words: a gateway's, whose page says nothing to users.
    const code = answer.status === 401 ? "unauthenticated" : "unavailable";
    return new Problem(answer.status, code, `the server answered ${answer.status}`, after);
  }
}

/** Whether an error only says that nobody waits for the answer any more. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

/** Any error as a problem that can be shown. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  return new Problem(0, "internal", error instanceof Error ? error.message : "something went wrong");
}
