/**
 * The page's state and all that it does; what is drawn follows from it.
 *
 * The place (what a link says) is the only thing that is set from outside. Questions, points and
 * cohorts follow from it by effects.
 */
import { batch, computed, effect, type ReadonlySignal, signal, untracked } from "@preact/signals";
import { type Api, asProblem, type File, type FileFormat, isAbort, type Problem } from "../api/client";
import type { CohortSummary, ConditionsBody, ManifestEntry, SeriesRecord, Settings } from "../api/types";
import { decodeMatches, UNKNOWN } from "../map";
import { Atlas, type Moved, type News } from "./atlas";
import { Cohorts } from "./cohorts";
import { type Colouring, colouring, type Theme } from "./colours";
import { emphasis } from "./emphasis";
import { type Filter, formatFilter, parseFilter } from "./filters";
import { Pictures } from "./pictures";
import { hashOf, type Place, placeOf, sameQuestion } from "./place";
import { bodyOf, type Conditions, conditionsOf, type Restriction, Results } from "./results";

/** How often a page that is seen asks whether there is a newer manifest, in milliseconds. */
const FOLLOW_MS = 4_000;
const FOLLOW_AT_MOST_MS = 60_000;
const MOST_CIRCLED = 100_000;
const SEEN = "dicom-indexer.seen";

/** What has happened to the index while the page was open. */
export interface Notice {
  readonly manifest: number;
  readonly text: string;
}

export class Explorer {
  readonly place: ReadonlySignal<Place>;
  readonly results: Results;
  readonly atlas: Atlas;
  readonly cohorts: Cohorts;
  readonly pictures: Pictures;
  readonly settings = signal<Settings | null>(null);
  readonly restriction = signal<Restriction | null>(null);
  readonly circled = signal<Int32Array | null>(null);
  readonly record = signal<SeriesRecord | Problem | null>(null);
  readonly history = signal<readonly ManifestEntry[] | null>(null);
  readonly notice = signal<Notice | null>(null);
  readonly moved = signal<Moved | null>(null);
  readonly isOffline = signal(false);
  readonly needsToken = signal(false);
  /** What is told to those who hear the page. */
  readonly said = signal("");
  readonly problem = signal<Problem | null>(null);
  readonly theme = signal<Theme>("light");
  /** Values that the legend points out while the pointer is on it. */
  readonly pointedOut = signal<string | null>(null);
  readonly lit = signal<Int32Array | null>(null);
  readonly fresh = signal<Int32Array | null>(null);
  readonly lastSeen: number | null;

  readonly conditions: ReadonlySignal<Conditions>;
  readonly colours: ReadonlySignal<Colouring | null>;
  readonly marks: ReadonlySignal<Uint8Array>;

  private readonly here = signal<Place>(placeOf(""));
  private readonly asked = signal<Place>(placeOf(""));
  private readonly stops: (() => void)[] = [];
  private matching: AbortController | null = null;
  private timer = 0;

  constructor(
    readonly api: Api,
    private readonly window: Window,
    private readonly storage: Storage | null,
  ) {
    this.place = this.here;
    this.results = new Results(api);
    this.atlas = new Atlas(api);
    this.cohorts = new Cohorts(api);
    this.pictures = new Pictures(api);
    const seen = Number(storage?.getItem(SEEN) ?? NaN);
    this.lastSeen = Number.isInteger(seen) ? seen : null;
    this.conditions = computed(() => conditionsOf(this.results.ready, this.here.value));
    this.colours = computed(() => this.coloured());
    this.marks = computed(() => this.emphasised());
  }

  /** Begin: read the address, ask for everything, and follow the index. */
  start(): void {
    const { window } = this;
    const read = (): void => this.arrive(placeOf(window.location.hash));
    window.addEventListener("hashchange", read);
    this.stops.push(() => window.removeEventListener("hashchange", read));
    this.arrive(placeOf(window.location.hash));
    void this.begin();
    this.stops.push(effect(() => this.question()));
    this.stops.push(effect(() => this.lightUp()));
    this.follow(FOLLOW_MS);
  }

  stop(): void {
    this.window.clearTimeout(this.timer);
    for (const each of this.stops.splice(0)) each();
  }

  /** Go to another place. `replace`: the way back does not lead to this one. */
  go(change: Partial<Place>, replace = false): void {
    const next = { ...this.here.value, ...change };
    const hash = hashOf(next);
    const address = hash || this.window.location.pathname;
    if (replace) this.window.history.replaceState(null, "", address);
    else if (hash !== hashOf(this.here.value)) this.window.history.pushState(null, "", address);
    this.arrive(next);
  }

  /** Ask for something else than before. What was found by its likeness is no longer asked for. */
  ask(change: Partial<Place>): void {
    this.go({ like: null, ...change });
  }

  /** Edit the conditions in force: those that were read from the words become explicit with it. */
  edit(filters: readonly Filter[], withUnknown?: readonly string[]): void {
    const place = this.here.value;
    const conditions = this.conditions.value;
    const wasRead = place.read && place.text.trim() !== "" && this.results.ready?.interpretation;
    this.ask({
      filters,
      withUnknown: withUnknown ?? conditions.withUnknown,
      read: wasRead ? false : place.read,
    });
  }

  signIn(token: string): void {
    this.api.signIn(token);
    this.needsToken.value = false;
    void this.begin();
    this.asked.value = { ...this.asked.value };
  }

  /** Narrow everything to the points within a circle; to these as well as before where `additive`. */
  circle(slots: Int32Array, additive: boolean): void {
    const { points } = this.atlas;
    const before = additive ? (this.circled.value ?? new Int32Array(0)) : new Int32Array(0);
    const all = Int32Array.from(new Set([...before, ...slots]));
    if (all.length > MOST_CIRCLED) {
      this.said.value = `${all.length} points are too many to narrow to: circle at most ${MOST_CIRCLED}`;
      this.problem.value = asProblem(new Error(this.said.value));
      return;
    }
    if (!all.length) {
      this.said.value = "no point lies within the circle";
      return;
    }
    batch(() => {
      this.circled.value = all;
      this.restriction.value = {
        kind: "circle",
        label: `${all.length} circled`,
        keys: Array.from(all, (slot) => points.shortKey(slot)),
      };
      this.said.value = `${all.length} series circled`;
    });
    if (this.here.value.cohort || this.here.value.like) this.go({ cohort: null, like: null });
  }

  uncircle(): void {
    batch(() => {
      this.circled.value = null;
      if (this.restriction.value?.kind === "circle") this.restriction.value = null;
    });
    if (this.here.value.cohort) this.go({ cohort: null });
  }

  /** Look for series that look like one, among all of the newest state. */
  likeThis(record: SeriesRecord): void {
    this.uncircle();
    this.go({ like: record.seriesKey.slice(0, 16), at: null, cohort: null, sort: null });
  }

  /** Tell of the series at a point. */
  pick(slot: number): void {
    this.go({ series: this.atlas.points.shortKey(slot) });
  }

  /** A file of all that meets the question. */
  async file(format: FileFormat): Promise<File> {
    const conditions = this.conditions.value;
    if (conditions.alternatives.length) {
      throw asProblem(new Error("an “or” between several conditions: save it as a cohort, and export that"));
    }
    const place = this.here.value;
    const manifest = this.results.ready?.manifest ?? place.at;
    return this.api.listFile(
      {
        ...bodyOf(place, this.restriction.value),
        filters: conditions.filters.map(formatFilter),
        withUnknown: [...conditions.withUnknown],
        ...(place.sort ? { sort: place.sort } : {}),
        ...(manifest !== null ? { manifest } : {}),
      },
      format,
    );
  }

  /** Short keys of all series that meet the question, or were circled and meet it. */
  async keysFound(): Promise<string[]> {
    const place = this.here.value;
    const narrowed = this.restriction.value;
    if (narrowed && !place.text.trim() && !place.filters.length) return [...narrowed.keys];
    const data = await this.api.matches(this.matchesBody(place, narrowed));
    return shortKeysOf(decodeMatches(data).ids);
  }

  /** Ask the question of a cohort anew, of the newest state. */
  askAsCohort(cohort: CohortSummary): void {
    const filters = cohort.filters.map(parseFilter).filter((each) => each !== null);
    this.ask({ text: cohort.text, read: cohort.text !== "", filters, withUnknown: [], at: null, cohort: null });
  }

  /** Ask the same again, after it went wrong. */
  again(): void {
    this.asked.value = { ...this.asked.value };
  }

  /** Take note of the news: what came is not marked any more. */
  dismiss(): void {
    batch(() => {
      this.notice.value = null;
      if (this.here.value.since === null) this.fresh.value = null;
    });
  }

  /** Load what has been going on, for whoever wants to look back. */
  async lookBack(): Promise<void> {
    try {
      this.history.value = await this.api.manifests();
    } catch (error) {
      this.fail(error);
    }
  }

  fail(error: unknown): void {
    if (isAbort(error)) return;
    const problem = asProblem(error);
    if (problem.status === 401) this.needsToken.value = true;
    else this.problem.value = problem;
  }

  private async begin(): Promise<void> {
    await this.load();
    try {
      this.settings.value = await this.api.settings();
    } catch (error) {
      this.fail(error);
    }
  }

  private async load(): Promise<void> {
    const place = this.here.value;
    try {
      if (!this.atlas.has(place.colour)) await this.atlas.need(place.colour, place.at);
      const news = await this.atlas.load(place.at);
      if (news) this.took(news);
    } catch (error) {
      this.fail(error);
    }
  }

  private arrive(next: Place): void {
    const before = this.here.value;
    batch(() => {
      this.here.value = next;
      if (!sameQuestion(before, next)) this.asked.value = next;
    });
    if (next.series !== before.series) void this.tell(next.series);
    if (next.at !== before.at && this.atlas.head.value) void this.load();
    else if (next.colour !== before.colour && this.atlas.head.value) {
      void this.atlas.need(next.colour, next.at).catch((error: unknown) => this.fail(error));
    }
    if (next.cohort?.name !== before.cohort?.name || next.cohort?.version !== before.cohort?.version) {
      void this.narrow(next);
    }
    if (next.since !== before.since || next.at !== before.at) void this.markFresh();
  }

  private async narrow(place: Place): Promise<void> {
    const ref = place.cohort;
    if (!ref) {
      if (this.restriction.value?.kind === "cohort") this.restriction.value = null;
      return;
    }
    try {
      const series = await this.api.cohortSeries(ref.name, ref.version);
      if (this.here.value.cohort !== ref) return;
      batch(() => {
        this.circled.value = null;
        this.restriction.value = {
          kind: "cohort",
          label: `cohort ${ref.name}, version ${ref.version}`,
          keys: series.map((each) => each.seriesKey),
        };
      });
    } catch (error) {
      this.fail(error);
      this.go({ cohort: null }, true); // a question among series that cannot be told is never answered
    }
  }

  /** Ask for the record of a series. `quiet`: what is shown stays until it is there. */
  private async tell(key: string | null, quiet = false): Promise<void> {
    if (!quiet) this.record.value = null;
    if (!key) return;
    try {
      const found = await this.api.series(key);
      if (this.here.value.series === key) this.record.value = found[0] ?? null;
    } catch (error) {
      if (this.here.value.series === key && !isAbort(error)) this.record.value = asProblem(error);
    }
  }

  private async markFresh(): Promise<void> {
    const { since, at } = this.here.value;
    if (since === null) {
      this.fresh.value = null;
      return;
    }
    try {
      const slots = await this.atlas.cameAfter(since, at);
      if (this.here.value.since !== since) return;
      this.fresh.value = slots ?? new Int32Array(0);
      this.said.value = slots
        ? `${slots.length} series came or changed after manifest ${since}`
        : `what came after manifest ${since} cannot be told: it is not kept, or the map is another one`;
    } catch (error) {
      this.fail(error);
    }
  }

  private question(): void {
    const place = this.asked.value;
    const narrowed = this.restriction.value;
    if (place.cohort && this.here.peek().cohort && narrowed?.kind !== "cohort") return; // on its way
    untracked(() => void this.results.ask(place, narrowed).then(() => this.heard()));
  }

  private heard(): void {
    const found = this.results.found.peek();
    if (found.kind === "ready") this.said.value = countText(found.ready.count);
    if (found.kind === "failed" && found.problem.status === 401) this.needsToken.value = true;
  }

  /** Light up on the map what was found. */
  private lightUp(): void {
    const found = this.results.found.value;
    const place = this.asked.value;
    const narrowed = this.restriction.value;
    void this.atlas.revision.value;
    this.matching?.abort();
    if (found.kind !== "ready") {
      if (found.kind === "failed") this.lit.value = null;
      return;
    }
    const { ready } = found;
    const conditions = conditionsOf(ready, place);
    const isAnything = !conditions.filters.length && !conditions.alternatives.length;
    if (place.like || (isAnything && place.text.trim())) {
      // Words without a condition, or likeness: everything is ranked, so the first ones are lit.
      this.lit.value = Int32Array.from(ready.hits, (hit) => this.atlas.points.find(hit.seriesKey.slice(0, 16)));
      return;
    }
    if (isAnything && !narrowed) {
      this.lit.value = null;
      return;
    }
    const running = new AbortController();
    this.matching = running;
    const body = { ...this.matchesBody(place, narrowed), manifest: ready.manifest };
    this.api.matches(body, running.signal).then(
      (data) => {
        if (running.signal.aborted) return;
        this.lit.value = this.atlas.points.locate(decodeMatches(data).ids);
      },
      (error: unknown) => this.fail(error),
    );
  }

  private matchesBody(place: Place, narrowed: Restriction | null): ConditionsBody & Record<string, unknown> {
    const text = place.text.trim();
    return { ...bodyOf(place, narrowed), ...(text ? { text, interpret: place.read } : {}) };
  }

  private coloured(): Colouring | null {
    void this.atlas.revision.value;
    const { points } = this.atlas;
    const { colour } = this.here.value;
    const column = this.atlas.column(colour);
    if (!column) return null;
    return colouring(colour, column.codes, column.values, points.alive, points.size, this.theme.value);
  }

  private emphasised(): Uint8Array {
    void this.atlas.revision.value;
    const { points } = this.atlas;
    const key = this.here.value.series;
    const pointed = this.pointedOut.value;
    let lit = this.lit.value;
    if (pointed !== null) lit = this.valued(this.here.value.colour, pointed);
    return emphasis(points.size, {
      lit,
      circled: this.circled.value,
      fresh: this.fresh.value,
      chosen: key ? points.find(key.slice(0, 16)) : -1,
    });
  }

  private valued(field: string, value: string): Int32Array {
    const { points } = this.atlas;
    const column = this.atlas.column(field);
    const slots: number[] = [];
    for (let i = 0; column && i < points.size; i++) {
      if (points.alive[i] && (column.values[column.codes[i] ?? UNKNOWN] ?? "unknown") === value) slots.push(i);
    }
    return Int32Array.from(slots);
  }

  /** Ask again and again whether there is a newer manifest, less often where nobody answers. */
  private follow(afterMs: number): void {
    this.timer = this.window.setTimeout(() => {
      void this.lookForNews().then(
        () => this.follow(FOLLOW_MS),
        () => this.follow(Math.min(2 * afterMs, FOLLOW_AT_MOST_MS)),
      );
    }, afterMs);
  }

  private async lookForNews(): Promise<void> {
    const head = this.atlas.head.value;
    if (this.window.document.hidden || this.needsToken.value) return;
    try {
      const newest = await this.api.newest();
      this.isOffline.value = false;
      if (this.here.value.at !== null) return;
      if (!head) return void (await this.load());
      if (newest <= head.manifest) return;
      const news = await this.atlas.follow();
      if (news) this.took(news);
      await this.results.ask(this.asked.value, this.restriction.value, true);
      void this.tell(this.here.value.series, true);
      if (this.here.value.since !== null) await this.markFresh();
    } catch (error) {
      const problem = asProblem(error);
      if (problem.status === 401) this.needsToken.value = true;
      // Nothing is indexed yet: the next time there may be.
      else if (problem.code !== "notFound") this.isOffline.value = problem.status === 0;
      throw problem;
    }
  }

  /** Slots that points have left may be given to others: marks must not go with them. */
  private forget(removed: readonly number[]): void {
    if (!removed.length) return;
    const gone = new Set(removed);
    this.circled.value = without(this.circled.value, gone);
    this.fresh.value = without(this.fresh.value, gone);
  }

  private took(news: News): void {
    this.storage?.setItem(SEEN, String(news.manifest));
    if (news.moved) this.moved.value = news.moved;
    this.forget(news.removed);
    const text = newsText(news);
    if (!text) return;
    batch(() => {
      this.notice.value = { manifest: news.manifest, text };
      this.said.value = text;
      if (this.here.value.since === null && news.added.length) this.fresh.value = Int32Array.from(news.added);
    });
  }
}

/** Slots without some of them. */
function without(slots: Int32Array | null, gone: ReadonlySet<number>): Int32Array | null {
  return slots && slots.filter((slot) => !gone.has(slot));
}

/** The short keys (16 hexadecimal digits) of ids of eight bytes each. */
function shortKeysOf(ids: Uint8Array): string[] {
  const keys: string[] = [];
  for (let i = 0; i < ids.length; i += 8) {
    keys.push(Array.from(ids.subarray(i, i + 8), (byte) => byte.toString(16).padStart(2, "0")).join(""));
  }
  return keys;
}

export function countText(count: number): string {
  return count === 1 ? "1 series" : `${count.toLocaleString("en")} series`;
}

function newsText(news: News): string {
  if (news.moved) {
    const { moved } = news;
    const share = (value: number): string => `${(100 * value).toFixed(1)} %`;
    const from = moved.from ? `map ${moved.from}` : "no map";
    return (
      `The map is now ${moved.to ?? "none"} (it was ${from}): ${countText(moved.points)} moved by ` +
      `${share(moved.median)} of its diagonal in the middle, ${share(moved.most)} at most`
    );
  }
  const parts = [
    news.added.length ? `${countText(news.added.length)} came` : "",
    news.changed.length ? `${news.changed.length} changed` : "",
    news.removed.length ? `${news.removed.length} went` : "",
  ].filter(Boolean);
  return parts.length ? `Manifest ${news.manifest}: ${parts.join(", ")}` : "";
}
