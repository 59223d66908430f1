/**
 * The page's state and all that it does; what is drawn follows from it.
 *
 * The place (what a link says) is the only thing that is set from outside. Questions, points and
 * cohorts follow from it by effects.
 */
import { batch, computed, effect, type ReadonlySignal, signal, untracked } from "@preact/signals";
import { type Api, asProblem, type File, type FileFormat, isAbort, Problem } from "../api/client";
import type { CohortSummary, ConditionsBody, ManifestEntry, SeriesRecord, Settings } from "../api/types";
import { decodeMatches, UNKNOWN } from "../map";
import { Atlas, type Moved, type News } from "./atlas";
import { Cohorts } from "./cohorts";
import { type Colouring, colouring, type Theme } from "./colours";
import { emphasis } from "./emphasis";
import { type Filter, formatFilter, parseFilter } from "./filters";
import { bytesOf, keysOf, Marking } from "./marking";
import { Pictures } from "./pictures";
import { hashOf, type Place, placeOf, sameCohort, sameQuestion, settled, START } from "./place";
import { bodyOf, type Conditions, conditionsOf, type Restriction, Results } from "./results";

/** How often a page that is seen asks whether there is a newer manifest, in milliseconds. */
const FOLLOW_MS = 4_000;
const FOLLOW_AT_MOST_MS = 60_000;
const MOST_NARROWED = 100_000;
const SEEN = "dicom-indexer.seen";

/** What has happened to the index while the page was open. */
export interface Notice {
  readonly manifest: number;
  readonly text: string;
}

/** Whether the server lets us in; `asked`: for a token; `declined`: by the reader. */
export type Access = "open" | "asked" | "declined";

export class Explorer {
  readonly place: ReadonlySignal<Place>;
  readonly results: Results;
  readonly atlas: Atlas;
  readonly marking: Marking;
  readonly cohorts: Cohorts;
  readonly pictures: Pictures;
  readonly settings = signal<Settings | null>(null);
  readonly restriction = signal<Restriction | null>(null);
  readonly record = signal<SeriesRecord | Problem | null>(null);
  readonly history = signal<readonly ManifestEntry[] | null>(null);
  readonly notice = signal<Notice | null>(null);
  readonly moved = signal<Moved | null>(null);
  readonly isOffline = signal(false);
  readonly access = signal<Access>("open");
  /** Whether a token was tried. */
  readonly wasTried = signal(false);
  /** What is told to those who hear the page. */
  readonly said = signal("");
  readonly problem = signal<Problem | null>(null);
  readonly theme = signal<Theme>("light");
  /** The value that the legend points out while the pointer is on it. */
  readonly pointedOut = signal<string | null>(null);
  readonly lastSeen: number | null;

  readonly conditions: ReadonlySignal<Conditions>;
  readonly colours: ReadonlySignal<Colouring | null>;
  readonly marks: ReadonlySignal<Uint8Array>;

  private readonly here = signal<Place>(START);
  private readonly asked = signal<Place>(START);
  private readonly kinds = new Map<string, Map<string, number>>();
  private readonly stops: (() => void)[] = [];
  private fromWords: ReadonlySet<string> = new Set();
  private matching: AbortController | null = null;
  private matched = "";
  private timer = 0;

  constructor(
    readonly api: Api,
    private readonly window: Window,
    private readonly storage: Storage | null,
  ) {
    this.place = this.here;
    this.results = new Results(api, (error) => this.fail(error));
    this.atlas = new Atlas(api);
    this.marking = new Marking(this.atlas);
    this.cohorts = new Cohorts(api);
    this.pictures = new Pictures(api);
    const seen = Number(storage?.getItem(SEEN) ?? NaN);
    this.lastSeen = Number.isInteger(seen) ? seen : null;
    this.conditions = computed(() => {
      void this.results.found.value;
      return conditionsOf(this.results.ready, this.here.value);
    });
    // A view or a tab is another place, too: points are coloured anew for what concerns them only.
    const colour = computed(() => this.here.value.colour);
    const series = computed(() => this.here.value.series);
    this.colours = computed(() => this.coloured(colour.value));
    this.marks = computed(() => this.emphasised(colour.value, series.value));
  }

  /** Begin: read the address, ask for everything, and follow the index. */
  start(): void {
    const { window } = this;
    const read = (): void => this.arrive(placeOf(window.location.hash));
    window.addEventListener("hashchange", read);
    this.stops.push(() => window.removeEventListener("hashchange", read));
    read();
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
    const next = settled({ ...this.here.value, ...change });
    const hash = hashOf(next);
    const address = hash || this.window.location.pathname;
    if (replace) this.window.history.replaceState(null, "", address);
    else if (hash !== hashOf(this.here.value)) this.window.history.pushState(null, "", address);
    this.arrive(next);
  }

  /** Look for other words; conditions that the old ones gave are gone with them. */
  search(text: string): void {
    const place = this.here.value;
    if (text === place.text && place.read && !place.like) return this.again();
    const filters = text === place.text ? place.filters : place.filters.filter((each) => !this.fromWords.has(formatFilter(each)));
    this.fromWords = new Set();
    this.go({ text, filters, read: true, sort: null, like: null });
  }

  /** Look for everything again. */
  startAnew(): void {
    this.fromWords = new Set();
    this.go({ text: "", filters: [], withUnknown: [], read: true, sort: null, like: null });
  }

  /** Edit the conditions in force: those that were read from the words become explicit with it. */
  edit(filters: readonly Filter[], withUnknown?: readonly string[]): void {
    const place = this.here.value;
    const conditions = this.conditions.value;
    const change = { filters, withUnknown: withUnknown ?? conditions.withUnknown };
    const wasRead = conditions.filters.length > place.filters.length || conditions.alternatives.length > 0;
    if (place.read && wasRead && !place.like) {
      const explicit = new Set(place.filters.map(formatFilter));
      this.fromWords = new Set(conditions.filters.map(formatFilter).filter((each) => !explicit.has(each)));
      this.go({ ...change, read: false });
    } else this.go(change);
  }

  /** Ask the same again. */
  again(): void {
    const place = this.here.value;
    if (place.cohort && this.restriction.value?.kind !== "cohort") void this.narrow(place);
    else this.asked.value = { ...place };
  }

  signIn(token: string): void {
    this.api.signIn(token);
    batch(() => {
      this.access.value = "open";
      this.wasTried.value = true;
      this.problem.value = null;
    });
    void this.begin();
    this.again();
    void this.tell(this.here.value.series);
    void this.markFresh();
    if (this.here.value.tab === "cohorts") void this.cohorts.list();
  }

  /** Go on without a token: nothing is asked until one is given. */
  declineToken(): void {
    if (this.access.value === "asked") this.access.value = "declined";
  }

  /** Narrow everything to the points within a circle; to these as well as before where `additive`. */
  circle(slots: Int32Array, additive: boolean): void {
    const before = additive ? (this.marking.circled.value ?? new Int32Array(0)) : new Int32Array(0);
    if (slots.length + before.length > MOST_NARROWED) {
      this.fail(new Error(`these are too many points to narrow to: circle at most ${MOST_NARROWED.toLocaleString("en")}`));
      return;
    }
    const all = Int32Array.from(new Set([...before, ...slots].filter((slot) => slot >= 0)));
    if (!all.length) {
      this.said.value = "no point lies within the circle";
      return;
    }
    const keys = this.atlas.points.keysOf(all);
    batch(() => {
      this.marking.circledKeys.value = keys;
      this.restriction.value = { kind: "circle", label: `${all.length} circled`, keys: keysOf(keys) };
      this.said.value = `${all.length} series circled`;
      if (this.here.value.cohort || this.here.value.like) this.go({ cohort: null, like: null });
    });
  }

  uncircle(): void {
    batch(() => {
      this.marking.circledKeys.value = null;
      if (this.restriction.value?.kind === "circle") this.restriction.value = null;
      if (this.here.value.cohort) this.go({ cohort: null });
    });
  }

  /** Look for series that look like one, among all of the newest state. */
  likeThis(record: SeriesRecord): void {
    this.uncircle();
    this.go({ like: record.seriesKey.slice(0, 16) });
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
    return keysOf(decodeMatches(await this.api.matches(this.matchesBody(place, narrowed))).ids);
  }

  /** Ask the question of a cohort anew, of the newest state. */
  askAsCohort(cohort: CohortSummary): void {
    const filters = cohort.filters.map(parseFilter).filter((each) => each !== null);
    this.fromWords = new Set();
    this.go({ text: cohort.text, read: true, filters, withUnknown: [], at: null, cohort: null, like: null });
  }

  /** Take note of the news: what came is not marked any more. */
  dismiss(): void {
    batch(() => {
      this.notice.value = null;
      if (this.here.value.since === null) this.marking.freshKeys.value = null;
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
    if (problem.status === 401) this.refused();
    else this.problem.value = problem;
  }

  private refused(): void {
    if (this.access.value === "open") this.access.value = "asked";
  }

  private async begin(): Promise<void> {
    await this.load();
    try {
      this.settings.value = await this.api.settings();
    } catch (error) {
      this.fail(error);
    }
  }

  /** Load the whole map of the place. What differs from before was chosen, so that it is no news. */
  private async load(): Promise<void> {
    const { at, colour } = this.here.value;
    try {
      const news = await this.atlas.load(at, colour);
      if (!news) return;
      if (at === null) this.storage?.setItem(SEEN, String(news.manifest));
      if (news.moved) this.moved.value = news.moved;
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
    else if (next.colour !== before.colour && this.atlas.head.value) void this.recolour(next);
    if (!sameCohort(next.cohort, before.cohort)) void this.narrow(next);
    if (next.since !== before.since || next.at !== before.at) void this.markFresh();
  }

  private async recolour(place: Place): Promise<void> {
    try {
      const news = await this.atlas.need(place.colour, place.at);
      if (news && place.at === null) await this.took(news);
    } catch (error) {
      this.fail(error);
    }
  }

  private async narrow(place: Place): Promise<void> {
    const ref = place.cohort;
    if (!ref) {
      if (this.restriction.value?.kind === "cohort") this.restriction.value = null;
      return;
    }
    this.restriction.value = null;
    try {
      const series = await this.api.cohortSeries(ref.name, ref.version);
      if (!sameCohort(this.here.value.cohort, ref)) return;
      if (series.length > MOST_NARROWED) {
        throw new Problem(0, "tooLarge", `a cohort of more than ${MOST_NARROWED.toLocaleString("en")} series is not shown: export it`);
      }
      batch(() => {
        this.marking.circledKeys.value = null;
        this.asked.value = { ...this.here.value };
        this.restriction.value = {
          kind: "cohort",
          label: `cohort ${ref.name}, version ${ref.version}`,
          keys: series.map((each) => each.seriesKey.slice(0, 16)),
        };
      });
    } catch (error) {
      if (isAbort(error) || !sameCohort(this.here.value.cohort, ref)) return;
      const problem = asProblem(error);
      // A question among series that cannot be told has no answer; it must not be that of all.
      this.results.refuse(problem);
      if (problem.status === 401) this.refused();
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
    const { marking } = this;
    if (since === null) {
      batch(() => {
        marking.since.value = "none";
        marking.freshKeys.value = null;
      });
      return;
    }
    marking.since.value = "asking";
    try {
      const keys = await this.atlas.cameAfter(since, at);
      if (this.here.value.since !== since) return;
      batch(() => {
        marking.since.value = keys ? "told" : "unknown";
        marking.freshKeys.value = keys;
        if (keys) this.said.value = `${keys.length / 8} series came or changed after manifest ${since}`;
      });
    } catch (error) {
      if (this.here.value.since === since) marking.since.value = "failed";
      this.fail(error);
    }
  }

  private question(): void {
    const place = this.asked.value;
    const narrowed = this.restriction.value;
    untracked(() => {
      if (this.here.value.cohort && narrowed?.kind !== "cohort") return; // on its way, or refused
      void this.results.ask(place, narrowed).then(() => this.heard());
    });
  }

  private heard(): void {
    const found = this.results.found.value;
    if (found.kind === "ready") this.said.value = countText(found.ready.count);
    if (found.kind === "failed" && found.problem.status === 401) this.refused();
  }

  /** Light up on the map what was found. */
  private lightUp(): void {
    const found = this.results.found.value;
    const narrowed = this.restriction.value;
    const { marking } = this;
    if (found.kind !== "ready") {
      if (found.kind === "failed") this.light(null);
      return;
    }
    const { ready } = found;
    const { place } = ready;
    const conditions = conditionsOf(ready, place);
    const isAnything = !conditions.filters.length && !conditions.alternatives.length;
    if (place.like || (isAnything && place.text.trim())) {
      // Words without a condition, or likeness: everything is ranked, so the first ones are lit.
      this.light(bytesOf(ready.hits.map((hit) => hit.seriesKey)));
      return;
    }
    if (isAnything && !narrowed) {
      this.light(null);
      return;
    }
    const body = { ...this.matchesBody(place, narrowed), manifest: ready.manifest };
    const asked = JSON.stringify({ ...body, series: narrowed?.label });
    if (asked === this.matched && narrowed === null) return; // only a further page has come
    this.matched = asked;
    this.matching?.abort();
    const running = new AbortController();
    this.matching = running;
    this.api.matches(body, running.signal).then(
      (data) => {
        if (!running.signal.aborted) marking.litKeys.value = decodeMatches(data).ids;
      },
      (error: unknown) => {
        if (running.signal.aborted || isAbort(error)) return;
        this.light(null); // what the last question found must not pass for this one's
        this.fail(error);
      },
    );
  }

  /** Light these up, and nothing that is still being asked for. */
  private light(keys: Uint8Array | null): void {
    this.matching?.abort();
    this.matched = "";
    this.marking.litKeys.value = keys;
  }

  private matchesBody(place: Place, narrowed: Restriction | null): ConditionsBody & Record<string, unknown> {
    const text = place.text.trim();
    return { ...bodyOf(place, narrowed), ...(text ? { text, interpret: place.read } : {}) };
  }

  private coloured(colour: string): Colouring | null {
    void this.atlas.revision.value;
    const { points } = this.atlas;
    const column = this.atlas.column(colour);
    if (!column) return null;
    const kept = this.kinds.get(colour) ?? new Map<string, number>();
    this.kinds.set(colour, kept);
    return colouring(colour, column.codes, column.values, points.alive, points.size, this.theme.value, kept);
  }

  private emphasised(colour: string, key: string | null): Uint8Array {
    void this.atlas.revision.value;
    const { points } = this.atlas;
    const pointed = this.pointedOut.value;
    return emphasis(points.size, {
      lit: pointed === null ? this.marking.lit.value : this.valued(colour, pointed),
      circled: this.marking.circled.value,
      fresh: this.marking.fresh.value,
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
    if (this.window.document.hidden || this.access.value !== "open") return;
    try {
      const newest = await this.api.newest();
      await this.recover();
      const head = this.atlas.head.value;
      if (this.here.value.at !== null || !head) return;
      if (newest === head.manifest) {
        // The map may have been loaded just after a commit, and the list been answered just before it.
        const isBehind = this.results.found.value.kind === "ready" && (this.results.ready?.manifest ?? newest) < newest;
        if (this.results.isDue || isBehind) await this.results.ask(this.asked.value, this.restriction.value, true);
        return;
      }
      // An index that was restored, or another one, has an earlier manifest: nothing of the old is kept.
      if (newest < head.manifest) this.pictures.clear();
      const news = newest < head.manifest ? await this.atlas.load(null, this.here.value.colour) : await this.atlas.follow();
      if (news) await this.took(news);
    } catch (error) {
      const problem = asProblem(error);
      if (problem.status === 401) this.refused();
      // Nothing is indexed yet: the next time there may be.
      else if (problem.code !== "notFound") this.isOffline.value = problem.status === 0;
      throw problem;
    }
  }

  /** The server answers: ask for what it did not answer while it was away. */
  private async recover(): Promise<void> {
    const hadNothing = this.atlas.state.value.kind === "failed";
    const wasAway = this.isOffline.value || hadNothing;
    this.isOffline.value = false;
    if (hadNothing) await this.load();
    if (wasAway && this.results.found.value.kind === "failed") this.again();
  }

  /** Take in what has come with a manifest: say it, mark it, and ask the question again. */
  private async took(news: News): Promise<void> {
    const { points } = this.atlas;
    this.storage?.setItem(SEEN, String(news.manifest));
    const text = newsText(news);
    batch(() => {
      if (news.moved) this.moved.value = news.moved;
      if (text) {
        this.notice.value = { manifest: news.manifest, text };
        this.said.value = text;
      }
      if (this.here.value.since === null && news.added.length) {
        this.marking.freshKeys.value = points.keysOf(news.added);
      }
    });
    if (this.results.ready?.manifest !== news.manifest) {
      await this.results.ask(this.asked.value, this.restriction.value, true);
    }
    void this.tell(this.here.value.series, true);
    if (this.here.value.since !== null) await this.markFresh();
  }
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
