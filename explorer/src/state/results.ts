/**
 * The series that a question finds, in pages, and what they consist of.
 *
 * Three ways lead to a list: words are searched for (best first), what meets conditions is listed
 * (sorted by a field), and series that look like one are found. All answers of one question come
 * from one manifest.
 */
import { batch, signal } from "@preact/signals";
import { type Api, asProblem, isAbort, type Problem } from "../api/client";
import type { Answer, ConditionsBody, Facets, Hit, Interpretation } from "../api/types";
import { type Filter, formatFilter, type Operator, sameFilters } from "./filters";
import type { Place } from "./place";

export const PAGE = 50;
/** Series of one answer at most. */
const MOST = 500;

/** Fields that are counted beside the results, in this order. */
export const FACET_FIELDS = [
  "modality",
  "bodyRegion",
  "plane",
  "sequence",
  "contrast",
  "manufacturer",
  "sex",
  "ageYears",
  "studyDate",
  "sliceThicknessMm",
  "fieldStrengthT",
  "flags",
  "scope",
] as const;

export type Mode = "search" | "list" | "like";

export interface Ready {
  /** What was asked. */
  readonly place: Place;
  readonly mode: Mode;
  readonly hits: readonly Hit[];
  readonly count: number;
  /** How many may fit, for a field that is asked about is unknown of them. */
  readonly possible: number;
  readonly fit: string | null;
  readonly interpretation: Interpretation | null;
  readonly manifest: number;
  readonly next: { link: string; body: unknown } | null;
}

export type Found =
  | { readonly kind: "loading"; readonly before: Ready | null }
  | { readonly kind: "ready"; readonly ready: Ready }
  | { readonly kind: "failed"; readonly problem: Problem };

/** What an answer narrows to: series that were circled, or those of a cohort. */
export interface Restriction {
  readonly kind: "circle" | "cohort";
  readonly label: string;
  readonly keys: readonly string[];
}

/** The conditions in force: those of the place, and those that were read from its words. */
export interface Conditions {
  readonly filters: readonly Filter[];
  /** "or" between several conditions: they cannot be edited one by one, nor sorted by. */
  readonly alternatives: readonly (readonly Filter[])[];
  readonly withUnknown: readonly string[];
}

export class Results {
  readonly found = signal<Found>({ kind: "loading", before: null });
  readonly facets = signal<Facets | null>(null);
  readonly isMore = signal(false);
  /** Whether what is shown is older than the index, because asking again went wrong. */
  isDue = false;
  private running: AbortController | null = null;

  /** @param fail is told what goes wrong beside the answer, which stays */
  constructor(
    private readonly api: Api,
    private readonly fail: (error: unknown) => void,
  ) {}

  /** Answer the question of a place. `quiet`: what is shown stays until the answer is there. */
  async ask(place: Place, narrowed: Restriction | null, quiet = false): Promise<void> {
    this.running?.abort();
    const running = new AbortController();
    this.running = running;
    if (!quiet) this.found.value = { kind: "loading", before: this.ready };
    try {
      // Whoever has looked further than the first page is not thrown back to it.
      const top = quiet ? Math.min(MOST, Math.max(PAGE, this.ready?.hits.length ?? 0)) : PAGE;
      const ready = await this.answer(place, narrowed, top, running.signal);
      if (running.signal.aborted) return;
      this.isDue = false;
      this.found.value = { kind: "ready", ready };
    } catch (error) {
      if (isAbort(error) || running.signal.aborted) return;
      this.isDue = quiet;
      if (quiet && this.found.value.kind === "ready") this.fail(error);
      else this.refuse(asProblem(error));
      return;
    }
    const ready = this.ready;
    if (!ready) return;
    try {
      await this.count(ready, place, narrowed, running.signal);
    } catch (error) {
      if (isAbort(error) || running.signal.aborted) return;
      this.facets.value = null;
      this.fail(error);
    }
  }

  /** There is no answer, and this is why. */
  refuse(problem: Problem): void {
    this.running?.abort();
    batch(() => {
      this.found.value = { kind: "failed", problem };
      this.facets.value = null;
    });
  }

  /** Add the next page to what is shown. */
  async more(): Promise<void> {
    const ready = this.ready;
    if (!ready?.next || this.isMore.value) return;
    this.isMore.value = true;
    try {
      const { link, body } = ready.next;
      const answer = await this.api.next(link, body, this.running?.signal);
      if (this.ready !== ready) return; // another question meanwhile
      const next = answer.nextLink ? { link: answer.nextLink, body } : null;
      this.found.value = { kind: "ready", ready: { ...ready, hits: [...ready.hits, ...answer.value], next } };
    } catch (error) {
      // What a manifest that is not kept any more was asked for is asked anew, from its start.
      if (asProblem(error).code === "manifestExpired") this.refuse(asProblem(error));
      else this.fail(error);
    } finally {
      this.isMore.value = false;
    }
  }

  /** Whether what is shown is all of an answer that others can be asked for: to save or export it. */
  get canBeKept(): boolean {
    const found = this.found.value;
    return found.kind === "ready" && found.ready.count > 0 && found.ready.mode !== "like";
  }

  get ready(): Ready | null {
    const found = this.found.value;
    return found.kind === "ready" ? found.ready : found.kind === "loading" ? found.before : null;
  }

  private async answer(
    place: Place,
    narrowed: Restriction | null,
    top: number,
    signal: AbortSignal,
  ): Promise<Ready> {
    const body = bodyOf(place, narrowed);
    if (place.like) {
      return readyOf(place, "like", await this.api.similar(place.like, body, signal), undefined);
    }
    if (!place.text.trim()) {
      const asked = { ...body, ...(place.sort ? { sort: place.sort } : {}), top };
      return readyOf(place, "list", await this.api.list(asked, signal), asked);
    }
    const asked = { ...body, text: place.text.trim(), interpret: place.read, top };
    const answer = await this.api.search(asked, signal);
    const ready = readyOf(place, "search", answer, asked);
    const conditions = conditionsOf(ready, place);
    if (!place.sort || conditions.alternatives.length) return ready;
    // Sorted by a field: all that meet the conditions that were read, from the same manifest.
    const listed = {
      ...body,
      filters: conditions.filters.map(formatFilter),
      withUnknown: [...conditions.withUnknown],
      manifest: ready.manifest,
      sort: place.sort,
      top,
    };
    const { hits, next } = readyOf(place, "list", await this.api.list(listed, signal), listed);
    return { ...ready, mode: "list", hits, next };
  }

  private async count(
    ready: Ready,
    place: Place,
    narrowed: Restriction | null,
    signal: AbortSignal,
  ): Promise<void> {
    const conditions = conditionsOf(ready, place);
    if (conditions.alternatives.length) {
      const asked = { ...bodyOf(place, narrowed), text: place.text.trim(), top: 1 };
      const answer = await this.api.search({ ...asked, manifest: ready.manifest, facets: [...FACET_FIELDS] }, signal);
      this.facets.value = answer.facets ?? null;
      return;
    }
    const answer = await this.api.facets(
      {
        ...bodyOf(place, narrowed),
        filters: conditions.filters.map(formatFilter),
        withUnknown: [...conditions.withUnknown],
        manifest: ready.manifest,
        facets: [...FACET_FIELDS],
        excludeOwn: true,
        most: 12,
      },
      signal,
    );
    this.facets.value = answer.facets;
  }
}

/** The conditions in force at a place; those of its words once they have been read. */
export function conditionsOf(ready: Ready | null, place: Place): Conditions {
  const said = ready?.interpretation;
  const isOfIt = ready?.place.text === place.text && sameFilters(ready.place.filters, place.filters);
  if (!said || !isOfIt || !place.text.trim() || !place.read || place.like) {
    return { filters: place.filters, alternatives: [], withUnknown: place.withUnknown };
  }
  const read = (each: { field: string; operator: string; values: string[] }): Filter => ({
    field: each.field,
    operator: each.operator as Operator,
    values: each.values,
  });
  const alternatives = (said.alternatives ?? []).map((branch) => branch.map(read));
  // With "or" between them the filters that were read are told as alternatives.
  const told = said.filters.filter((each) => !alternatives.length || each.from === "request");
  return {
    filters: told.map(read),
    alternatives,
    withUnknown: said.withUnknown ?? place.withUnknown,
  };
}

/** The conditions of a place as the body of a request carries them. */
export function bodyOf(place: Place, narrowed: Restriction | null): ConditionsBody {
  return {
    ...(place.filters.length ? { filters: place.filters.map(formatFilter) } : {}),
    ...(place.withUnknown.length ? { withUnknown: [...place.withUnknown] } : {}),
    ...(narrowed ? { series: [...narrowed.keys] } : {}),
    ...(place.at !== null ? { manifest: place.at } : {}),
  };
}

function readyOf(place: Place, mode: Mode, answer: Answer, body: unknown): Ready {
  return {
    place,
    mode,
    hits: answer.value,
    count: answer.count ?? answer.value.length,
    possible: answer.possible ?? 0,
    fit: answer.fit ?? null,
    interpretation: answer.interpretation?.filters ? answer.interpretation : null,
    manifest: answer.manifest,
    next: answer.nextLink ? { link: answer.nextLink, body } : null,
  };
}
