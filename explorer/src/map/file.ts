/**
 * The container that `GET /api/map/points` and `POST /api/map/matches` answer with.
 *
 * Little endian: `DXP1`, the length H of the header as uint32, H bytes of JSON padded with spaces,
 * then sections of typed numbers; everything starts at a multiple of 8 bytes. Decoding copies
 * nothing: the arrays are views of the answer's buffer.
 */

/** Code of a value that is not known, in every column. */
export const UNKNOWN = 0xffff;

/** Bytes of a short key: the first 8 of a series key. */
export const KEY_BYTES = 8;

/** Bits of a point's `flags`. */
export const PROVISIONAL = 1;
export const DISAGREES = 2;

const MAGIC = 0x31505844; // "DXP1", read as a little-endian number
const ALIGNMENT = 8;

/** A file that is not what the API promises; the message is one clear line. */
export class PointsFileError extends Error {
  override readonly name = "PointsFileError";
}

/** One column: a code per point, and what the codes stand for. `UNKNOWN` stands for nothing. */
export interface Column {
  codes: Uint16Array;
  values: string[];
}

/** A decoded file of points: all of a map, or what has changed `since` a manifest. */
export interface PointsFile {
  manifest: number;
  /** The manifest that the changes count from; null where this is the whole map. */
  since: number | null;
  projectionVersion: string | null;
  count: number;
  /** Points of the whole map, and series that have no place on it. */
  total: number;
  unplaced: number;
  /** Short keys, 8 bytes per point. */
  ids: Uint8Array;
  /** Places, in map units; y grows upwards. */
  x: Float32Array;
  y: Float32Array;
  flags: Uint8Array;
  columns: Map<string, Column>;
  /** Short keys of series that are no longer there, 8 bytes each; empty in a whole map. */
  removed: Uint8Array;
}

/** A decoded file of matches: short keys of series, 8 bytes each. */
export interface MatchesFile {
  manifest: number;
  count: number;
  ids: Uint8Array;
}

type Section = Uint8Array | Uint16Array | Float32Array;

const TYPES = { uint8: Uint8Array, uint16: Uint16Array, float32: Float32Array } as const;

/** Points out of an answer of `/api/map/points`. Throws a `PointsFileError` on anything else. */
export function decodePoints(buffer: ArrayBuffer): PointsFile {
  const { header, sections } = open(buffer);
  const count = natural(header, "count");
  const since = header["since"] ?? null;
  const version = header["projectionVersion"] ?? null;
  if (version !== null && typeof version !== "string") {
    throw new PointsFileError("projectionVersion is neither text nor null");
  }
  return {
    manifest: natural(header, "manifest"),
    since: since === null ? null : natural(header, "since"),
    projectionVersion: version,
    count,
    total: natural(header, "total"),
    unplaced: natural(header, "unplaced"),
    ids: section(sections, "ids", Uint8Array, count * KEY_BYTES),
    x: section(sections, "x", Float32Array, count),
    y: section(sections, "y", Float32Array, count),
    flags: section(sections, "flags", Uint8Array, count),
    columns: columnsOf(header, sections, count),
    removed: removedOf(sections),
  };
}

/** Short keys out of an answer of `/api/map/matches`. Throws a `PointsFileError` on anything else. */
export function decodeMatches(buffer: ArrayBuffer): MatchesFile {
  const { header, sections } = open(buffer);
  const count = natural(header, "count");
  return {
    manifest: natural(header, "manifest"),
    count,
    ids: section(sections, "ids", Uint8Array, count * KEY_BYTES),
  };
}

function open(buffer: ArrayBuffer): { header: Record<string, unknown>; sections: Map<string, Section> } {
  const view = new DataView(buffer);
  if (buffer.byteLength < ALIGNMENT || view.getUint32(0, true) !== MAGIC) {
    throw new PointsFileError("not a file of points: it does not begin with DXP1");
  }
  const length = view.getUint32(4, true);
  const start = ALIGNMENT + length;
  if (start % ALIGNMENT !== 0 || start > buffer.byteLength) {
    throw new PointsFileError("the header does not fit into the file");
  }
  const header = parsed(new Uint8Array(buffer, ALIGNMENT, length));
  return { header, sections: sectionsOf(header, buffer, start) };
}

function parsed(bytes: Uint8Array): Record<string, unknown> {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new PointsFileError("the header is not JSON");
  }
  if (!isRecord(header)) {
    throw new PointsFileError("the header is not a JSON object");
  }
  return header;
}

function sectionsOf(
  header: Record<string, unknown>,
  buffer: ArrayBuffer,
  start: number,
): Map<string, Section> {
  const declared = header["sections"];
  if (!Array.isArray(declared)) {
    throw new PointsFileError("the header lists no sections");
  }
  const sections = new Map<string, Section>();
  let offset = start;
  for (const each of declared as unknown[]) {
    if (!isRecord(each) || typeof each["name"] !== "string") {
      throw new PointsFileError("a section has no name");
    }
    const name = each["name"];
    const kind = typeof each["type"] === "string" ? each["type"] : "";
    if (!Object.hasOwn(TYPES, kind)) {
      throw new PointsFileError(`section ${name} is of a type that is not known`);
    }
    const type = TYPES[kind as keyof typeof TYPES];
    const length = natural(each, "length");
    const end = offset + length * type.BYTES_PER_ELEMENT;
    if (end > buffer.byteLength) {
      throw new PointsFileError(`the file ends within section ${name}`);
    }
    sections.set(name, new type(buffer, offset, length));
    offset = Math.ceil(end / ALIGNMENT) * ALIGNMENT;
  }
  return sections;
}

function section<T extends Section>(
  sections: ReadonlyMap<string, Section>,
  name: string,
  type: abstract new (...args: never[]) => T,
  length: number,
): T {
  const found = sections.get(name);
  if (!(found instanceof type) || found.length !== length) {
    throw new PointsFileError(`section ${name} is absent, or not as long as the count of points`);
  }
  return found;
}

function columnsOf(
  header: Record<string, unknown>,
  sections: ReadonlyMap<string, Section>,
  count: number,
): Map<string, Column> {
  const declared = header["columns"] ?? {};
  if (!isRecord(declared)) {
    throw new PointsFileError("columns is not a JSON object");
  }
  const columns = new Map<string, Column>();
  for (const [name, values] of Object.entries(declared)) {
    if (!Array.isArray(values) || !values.every((each) => typeof each === "string")) {
      throw new PointsFileError(`the values of column ${name} are not texts`);
    }
    const codes = section(sections, `column:${name}`, Uint16Array, count);
    if (codes.some((code) => code !== UNKNOWN && code >= values.length)) {
      throw new PointsFileError(`column ${name} has a code without a value`);
    }
    columns.set(name, { codes, values: values as string[] });
  }
  return columns;
}

function removedOf(sections: ReadonlyMap<string, Section>): Uint8Array {
  const removed = sections.get("removed") ?? new Uint8Array();
  if (!(removed instanceof Uint8Array) || removed.length % KEY_BYTES !== 0) {
    throw new PointsFileError("section removed is not of whole keys");
  }
  return removed;
}

function natural(header: Record<string, unknown>, name: string): number {
  const value = header[name];
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
    throw new PointsFileError(`${name} is not a whole number`);
  }
  return value;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
