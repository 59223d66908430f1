/**
 * Where the page is: all that a link can say. Read from the address and written to it.
 *
 * A link holds the words of the question and UIDs or keys, as the API's own links do. It stays
 * behind the `#`, so that no server or proxy on the way gets to see it.
 */
import { isColourField, isFilterField } from "./fields";
import { type Filter, formatFilter, parseFilter, sameFilters } from "./filters";

export interface CohortRef {
  readonly name: string;
  readonly version: number;
}

export interface View {
  readonly x: number;
  readonly y: number;
  readonly scale: number;
}

export type Tab = "map" | "list" | "filters" | "cohorts";

export interface Place {
  /** What is looked for, in words; "" for everything. */
  readonly text: string;
  /** Whether the words are read for filters, too. */
  readonly read: boolean;
  readonly filters: readonly Filter[];
  /** Fields that may be unknown. */
  readonly withUnknown: readonly string[];
  /** `field` or `-field`; null: best first where words are asked for, newest first where not. */
  readonly sort: string | null;
  /** The field that colours the map. */
  readonly colour: string;
  /** The manifest that is looked at; null: the newest, as it comes. */
  readonly at: number | null;
  /** What came after this manifest is marked. */
  readonly since: number | null;
  /** Key of the series that is told of. */
  readonly series: string | null;
  /** Key of the series that others are to look like. */
  readonly like: string | null;
  /** The cohort that everything is narrowed to. */
  readonly cohort: CohortRef | null;
  /** The part of the map that is seen; null: all of it. */
  readonly view: View | null;
  /** What a narrow window shows. */
  readonly tab: Tab;
}

export const START: Place = {
  text: "",
  read: true,
  filters: [],
  withUnknown: [],
  sort: null,
  colour: "modality",
  at: null,
  since: null,
  series: null,
  like: null,
  cohort: null,
  view: null,
  tab: "map",
};

const TABS: readonly Tab[] = ["map", "list", "filters", "cohorts"];
const KEY = /^(?!\.+$)[0-9A-Za-z._-]{1,64}$/;
const COHORT = /^([A-Za-z0-9][A-Za-z0-9_-]{0,47})@([1-9][0-9]{0,5})$/;

/** The place that the part of an address behind `#` names. What it cannot be is left out. */
export function placeOf(hash: string): Place {
  const asked = new URLSearchParams(hash.replace(/^#/, ""));
  const one = (name: string, form: RegExp): string | null => {
    const value = asked.get(name);
    return value !== null && form.test(value) ? value : null;
  };
  const number = (name: string): number | null => {
    const value = one(name, /^[0-9]{1,15}$/);
    return value === null ? null : Number(value);
  };
  const colour = asked.get("colour") ?? "";
  const sort = asked.get("sort") ?? "";
  const cohort = COHORT.exec(asked.get("cohort") ?? "");
  const tab = asked.get("tab");
  return settled({
    text: asked.get("q") ?? "",
    read: asked.get("read") !== "0",
    filters: asked.getAll("f").map(parseFilter).filter((each) => each !== null),
    withUnknown: asked.getAll("unknown").filter(isFilterField),
    sort: isFilterField(sort.replace(/^-/, "")) ? sort : null,
    colour: isColourField(colour) ? colour : START.colour,
    at: number("at"),
    since: number("since"),
    series: one("series", KEY),
    like: one("like", KEY),
    cohort: cohort ? { name: cohort[1] ?? "", version: Number(cohort[2]) } : null,
    view: viewOf(asked.get("view")),
    tab: TABS.find((each) => each === tab) ?? "map",
  });
}

/** A place that says nothing that is not done: likeness is asked of the newest state, without words. */
export function settled(place: Place): Place {
  return place.like ? { ...place, text: "", read: true, sort: null, at: null, cohort: null } : place;
}

export function sameCohort(one: CohortRef | null, other: CohortRef | null): boolean {
  return one?.name === other?.name && one?.version === other?.version;
}

/** The part of an address that names a place; "" for where one starts. */
export function hashOf(place: Place): string {
  const said = new URLSearchParams();
  if (place.text) said.set("q", place.text);
  if (!place.read) said.set("read", "0");
  for (const each of place.filters) said.append("f", formatFilter(each));
  for (const each of place.withUnknown) said.append("unknown", each);
  if (place.sort) said.set("sort", place.sort);
  if (place.colour !== START.colour) said.set("colour", place.colour);
  if (place.at !== null) said.set("at", String(place.at));
  if (place.since !== null) said.set("since", String(place.since));
  if (place.series) said.set("series", place.series);
  if (place.like) said.set("like", place.like);
  if (place.cohort) said.set("cohort", `${place.cohort.name}@${place.cohort.version}`);
  if (place.view) said.set("view", [place.view.x, place.view.y, place.view.scale].map(short).join(","));
  if (place.tab !== START.tab) said.set("tab", place.tab);
  const text = said.toString();
  return text ? `#${text}` : "";
}

/** Whether two places ask for the same series. */
export function sameQuestion(one: Place, other: Place): boolean {
  return (
    one.text === other.text &&
    one.read === other.read &&
    one.sort === other.sort &&
    one.at === other.at &&
    one.like === other.like &&
    sameFilters(one.filters, other.filters) &&
    one.withUnknown.join() === other.withUnknown.join()
  );
}

function viewOf(text: string | null): View | null {
  const parts = (text ?? "").split(",").map(Number);
  const [x, y, scale] = parts;
  if (parts.length !== 3 || x === undefined || y === undefined || scale === undefined) return null;
  return parts.every(Number.isFinite) && scale > 0 ? { x, y, scale } : null;
}

function short(value: number): string {
  return String(Number(value.toPrecision(6)));
}
