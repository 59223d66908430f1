/**
 * Colours of values: by kind for words, by order for bands of numbers.
 *
 * Eight kinds at most have a colour of their own, those with the most points; more could not be told
 * apart, least of all by the colour-blind. The kinds are after Okabe and Ito (2008), the order after
 * viridis, both moved in lightness for either background; `test/colours.test.ts` holds them apart as
 * eyes without one kind of cones see them.
 */

export type Theme = "light" | "dark";
export type Rgb = readonly [number, number, number];

export const KINDS: Record<Theme, readonly string[]> = {
  light: ["#1274b4", "#eca40c", "#0a9c70", "#ea7e25", "#ce7baa", "#58b5ea", "#44449a", "#807302"],
  dark: ["#46a8eb", "#e6a710", "#28c190", "#f1753c", "#e38ebc", "#87d0fc", "#9b7bc3", "#e7d856"],
};
const ORDER: Record<Theme, readonly string[]> = {
  light: ["#482173", "#3b528b", "#2a788e", "#1f9d89", "#5cb85c", "#a5b51c", "#d9a514"],
  dark: ["#7a5bb5", "#5f7fc4", "#45a0b8", "#35b9a0", "#7fd36a", "#c0d93a", "#fde725"],
};
export const OTHER: Record<Theme, string> = { light: "#7d8794", dark: "#97a1af" };
export const UNKNOWN_COLOUR: Record<Theme, string> = { light: "#b9c0c9", dark: "#56606c" };

export const UNKNOWN_CODE = 0xffff;

/** One line of the legend. `value` is null for what stands for several, or for none. */
export interface Entry {
  readonly label: string;
  readonly value: string | null;
  readonly colour: string;
  readonly count: number;
}

export interface Colouring {
  readonly field: string;
  readonly entries: readonly Entry[];
  /** Colour of each code, three bytes each; the last one that of what is unknown. */
  readonly palette: Uint8Array;
  /** Code of each slot, into the palette. */
  readonly codes: Uint16Array;
}

/** Bands have an order: `0-9`, `10-19`, `<1`, `2019`, ... */
const BAND = /^(?:[<≤>≥]\s*)?-?\d/;

/**
 * Colour points by a column.
 *
 * @param codes of each slot, into `values`; `UNKNOWN_CODE` where it is not known
 * @param alive whether a slot is in use, 1 or 0
 * @param kept which kind's colour each value has had; values keep theirs, new ones are added
 */
export function colouring(
  field: string,
  codes: Uint16Array,
  values: readonly string[],
  alive: Uint8Array,
  size: number,
  theme: Theme,
  kept: Map<string, number> = new Map(),
): Colouring {
  const counts = new Float64Array(values.length + 1);
  const last = values.length;
  for (let i = 0; i < size; i++) {
    if (!alive[i]) continue;
    const code = codes[i] ?? UNKNOWN_CODE;
    const place = code < last && !isUnknown(values[code]) ? code : last;
    counts[place] = (counts[place] ?? 0) + 1;
  }
  const known = values.map((_, code) => code).filter((code) => (counts[code] ?? 0) > 0);
  const ordered = known.length > 0 && known.every((code) => BAND.test(values[code] ?? ""));
  const colourOf = new Map<number, string>();
  const entries: Entry[] = [];
  const told = (code: number, colour: string): void => {
    colourOf.set(code, colour);
    entries.push({ label: values[code] ?? "", value: values[code] ?? null, colour, count: counts[code] ?? 0 });
  };
  if (ordered) {
    known.sort((one, other) => compareBands(values[one] ?? "", values[other] ?? ""));
    known.forEach((code, i) => told(code, between(ORDER[theme], known.length > 1 ? i / (known.length - 1) : 0.5)));
  } else {
    known.sort((one, other) => (counts[other] ?? 0) - (counts[one] ?? 0) || compare(values[one], values[other]));
    keep(kept, known.map((code) => values[code] ?? ""), KINDS[theme].length);
    const kindOf = (code: number): number | undefined => kept.get(values[code] ?? "");
    for (const code of known) {
      const kind = kindOf(code);
      if (kind !== undefined) told(code, KINDS[theme][kind] ?? OTHER[theme]);
    }
    const rest = known.filter((code) => kindOf(code) === undefined);
    const [only] = rest;
    if (rest.length === 1 && only !== undefined) told(only, OTHER[theme]);
    else if (rest.length) {
      const count = rest.reduce((sum, code) => sum + (counts[code] ?? 0), 0);
      entries.push({ label: `${rest.length} others`, value: null, colour: OTHER[theme], count });
    }
  }
  const unknown = counts[last] ?? 0;
  if (unknown) entries.push({ label: "unknown", value: "unknown", colour: UNKNOWN_COLOUR[theme], count: unknown });
  const palette = new Uint8Array(3 * (values.length + 1));
  for (let code = 0; code <= last; code++) {
    const missing = code === last || isUnknown(values[code]);
    const colour = missing ? UNKNOWN_COLOUR[theme] : (colourOf.get(code) ?? OTHER[theme]);
    palette.set(rgb(colour), 3 * code);
  }
  return { field, entries, palette, codes };
}

/** A colour `#rrggbb` as three bytes. */
export function rgb(colour: string): Rgb {
  const value = Number.parseInt(colour.slice(1), 16);
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255];
}

/** Give values without a kind one that no value there has, as long as there are any. */
function keep(kept: Map<string, number>, values: readonly string[], kinds: number): void {
  const taken = new Set<number>();
  for (const value of values) {
    const kind = kept.get(value);
    if (kind === undefined) continue;
    if (taken.has(kind)) kept.delete(value); // another has taken it while this one was away
    else taken.add(kind);
  }
  const free = Array.from({ length: kinds }, (_, kind) => kind).filter((kind) => !taken.has(kind));
  for (const value of values) {
    if (kept.has(value)) continue;
    const kind = free.shift();
    if (kind === undefined) return;
    kept.set(value, kind);
  }
}

function isUnknown(value: string | undefined): boolean {
  return value === undefined || value === "" || value === "unknown";
}

function between(colours: readonly string[], share: number): string {
  const place = share * (colours.length - 1);
  const first = Math.min(Math.floor(place), colours.length - 2);
  const one = rgb(colours[first] ?? "#000000");
  const other = rgb(colours[first + 1] ?? "#000000");
  const mixed = one.map((value, i) => Math.round(value + (place - first) * ((other[i] ?? 0) - value)));
  return `#${mixed.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}

/** Bands by their first number; those that begin below all come first. */
function compareBands(one: string, other: string): number {
  return startOf(one) - startOf(other) || compare(one, other);
}

function startOf(band: string): number {
  const number = Number(/-?\d+(?:\.\d+)?/.exec(band)?.[0] ?? 0);
  return /^[<≤]/.test(band) ? number - 1e-6 - 1e9 : number;
}

function compare(one = "", other = ""): number {
  return one < other ? -1 : one > other ? 1 : 0;
}
