/**
 * The points of the map: loaded once, then followed by what each manifest brings.
 *
 * Points keep their slots and their places while the map's version stays; a new version moves them,
 * and says how far.
 */
import { batch, signal } from "@preact/signals";
import { type Api, asProblem, isAbort, type Problem } from "../api/client";
import { boundsOfAll, type Column, PointSet, type PointsFile } from "../map";

/** Columns that come with the points: those that are told of a point without asking again. */
export const BASIC_COLUMNS = ["modality", "bodyRegion", "plane", "contrast", "manufacturer", "sex"] as const;

export interface Head {
  readonly manifest: number;
  readonly projection: string | null;
  readonly total: number;
  readonly unplaced: number;
}

export type AtlasState =
  | { readonly kind: "loading" }
  | { readonly kind: "ready" }
  | { readonly kind: "failed"; readonly problem: Problem };

/** What came with a manifest. `moved` where the map is another one than before. */
export interface News {
  readonly manifest: number;
  /** Slots. */
  readonly added: readonly number[];
  readonly changed: readonly number[];
  readonly removed: readonly number[];
  readonly moved: Moved | null;
}

/**
 * How points moved from one map to the next: `median` and `most` are shares of the diagonal of the
 * later map, `x` and `y` the places by slot that they come from (of new points: their own).
 */
export interface Moved {
  readonly from: string | null;
  readonly to: string | null;
  readonly points: number;
  readonly median: number;
  readonly most: number;
  readonly x: Float32Array;
  readonly y: Float32Array;
}

export class Atlas {
  readonly points = new PointSet();
  /** Counts what has happened to `points`, for whoever draws them. */
  readonly revision = signal(0);
  readonly head = signal<Head | null>(null);
  readonly state = signal<AtlasState>({ kind: "loading" });
  private wanted: readonly string[] = BASIC_COLUMNS;
  private running: AbortController | null = null;

  constructor(private readonly api: Api) {}

  /** Load the whole map of a manifest (null: the newest) with a column. */
  async load(manifest: number | null, column: string): Promise<News | null> {
    this.wanted = columnsWith(column);
    if (!this.points.count) this.state.value = { kind: "loading" };
    return this.fetch(manifest, null);
  }

  /** Take in what has changed since the manifest that is shown. */
  async follow(): Promise<News | null> {
    const head = this.head.value;
    // Changes alone would leave a column that came meanwhile unknown for all that have not changed.
    const isWhole = this.wanted.every((each) => this.points.columns.includes(each));
    return this.fetch(null, head && isWhole ? head.manifest : null);
  }

  /** Have a column at hand, loading the map anew where it has to come with one. */
  async need(column: string, manifest: number | null): Promise<News | null> {
    if (this.points.columns.includes(column)) return null;
    this.wanted = columnsWith(column);
    return this.fetch(manifest, null);
  }

  /** Short keys of what has come or changed after a manifest; null where that cannot be told. */
  async cameAfter(since: number, manifest: number | null): Promise<Uint8Array | null> {
    const file = PointSet.decode(await this.api.points([], { manifest, since }));
    return file.since === null ? null : file.ids;
  }

  /** The column of a field; null where the points came without it. */
  column(field: string): Column | null {
    return this.points.columns.includes(field) ? this.points.column(field) : null;
  }

  private async fetch(manifest: number | null, since: number | null): Promise<News | null> {
    this.running?.abort();
    const running = new AbortController();
    this.running = running;
    try {
      const buffer = await this.api.points(this.wanted, { manifest, since }, running.signal);
      if (running.signal.aborted) return null;
      const file = PointSet.decode(buffer);
      return batch(() => {
        const news = this.take(file);
        this.state.value = { kind: "ready" };
        this.revision.value++;
        return news;
      });
    } catch (error) {
      if (isAbort(error) || running.signal.aborted) return null;
      const problem = asProblem(error);
      // What is on the screen is worth more than a message in its place.
      if (!this.points.count) this.state.value = { kind: "failed", problem };
      throw problem;
    }
  }

  private take(file: PointsFile): News {
    const { points } = this;
    const before = this.head.value;
    this.head.value = {
      manifest: file.manifest,
      projection: file.projectionVersion,
      total: file.total,
      unplaced: file.unplaced,
    };
    const news = { manifest: file.manifest, added: [], changed: [], removed: [], moved: null };
    if (before === null) {
      points.replace(file);
      return news;
    }
    const [x, y] = [points.x.slice(0, points.size), points.y.slice(0, points.size)];
    const delta = points.apply(file);
    const isOther = before.projection !== file.projectionVersion;
    return {
      ...news,
      // A state that was gone to by hand brings no news.
      ...(file.since !== null || isOther ? delta : { removed: delta.removed }),
      moved: isOther ? this.moved(x, y, before, file, delta.added) : null,
    };
  }

  private moved(
    oldX: Float32Array,
    oldY: Float32Array,
    before: Head,
    file: PointsFile,
    added: readonly number[],
  ): Moved {
    const { points } = this;
    const x = points.x.slice(0, points.size);
    const y = points.y.slice(0, points.size);
    const bounds = boundsOfAll(points);
    const diagonal = (bounds && Math.hypot(bounds.right - bounds.left, bounds.top - bounds.bottom)) || 1;
    const came = new Set(added);
    const ways: number[] = [];
    for (let slot = 0; slot < oldX.length; slot++) {
      if (!points.alive[slot] || came.has(slot)) continue;
      const [wasX, wasY] = [oldX[slot] ?? 0, oldY[slot] ?? 0];
      ways.push(Math.hypot((x[slot] ?? 0) - wasX, (y[slot] ?? 0) - wasY) / diagonal);
      [x[slot], y[slot]] = [wasX, wasY];
    }
    ways.sort((one, other) => one - other);
    return {
      from: before.projection,
      to: file.projectionVersion,
      points: ways.length,
      median: ways[Math.floor(ways.length / 2)] ?? 0,
      most: ways[ways.length - 1] ?? 0,
      x,
      y,
    };
  }
}

function columnsWith(column: string): readonly string[] {
  return (BASIC_COLUMNS as readonly string[]).includes(column) ? BASIC_COLUMNS : [...BASIC_COLUMNS, column];
}
