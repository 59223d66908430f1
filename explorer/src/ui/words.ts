/** Words for people: of fields, flags, numbers and dates. */
import type { Hit, SeriesRecord } from "../api/types";
import type { Filter } from "../state/filters";

const FIELDS = new Map(Object.entries({
  modality: "Modality",
  headerModality: "Modality in the header",
  bodyRegion: "Body region",
  bodyPart: "Body part",
  plane: "Plane",
  sequence: "Sequence",
  contrast: "Contrast",
  manufacturer: "Manufacturer",
  model: "Model",
  sex: "Sex",
  ageYears: "Age (years)",
  studyDate: "Study date",
  sliceThicknessMm: "Slice thickness (mm)",
  fieldStrengthT: "Field strength (T)",
  instances: "Images",
  frames: "Frames",
  hasPixels: "Has pixels",
  flags: "Flags",
  scope: "Scope",
  seriesInstanceUid: "Series UID",
  studyInstanceUid: "Study UID",
  patientKey: "Patient key",
  ageBand: "Age",
}));

const OPERATORS = new Map(Object.entries({
  "=": "is",
  "!=": "is not",
  ">=": "at least",
  "<=": "at most",
  ">": "above",
  "<": "below",
  "~": "contains",
  "!~": "does not contain",
}));

/** Flags under which the header and what is seen, or the header and itself, disagree. */
const DISAGREEMENTS = new Set(["headerPixelDisagreement", "headerBodyPartMismatch", "headerModalityMismatch"]);

export function fieldText(field: string): string {
  return FIELDS.get(field) ?? spaced(field);
}

export function operatorText(operator: string): string {
  return OPERATORS.get(operator) ?? operator;
}

export function filterText(filter: Filter): string {
  return `${fieldText(filter.field)} ${operatorText(filter.operator)} ${filter.values.join(" or ")}`;
}

/** `headerPixelDisagreement` -> `header pixel disagreement`. */
export function spaced(name: string): string {
  return name.replace(/([a-z0-9])([A-Z])/g, (_, one: string, other: string) => `${one} ${other.toLowerCase()}`);
}

export function numberText(value: number | null | undefined): string {
  if (value === null || value === undefined) return "few";
  return value.toLocaleString("en", { maximumFractionDigits: 2 });
}

export function isProvisional(record: SeriesRecord): boolean {
  return record.flags.includes("provisional");
}

export function disagreements(record: SeriesRecord): string[] {
  return record.flags.filter((each) => DISAGREEMENTS.has(each));
}

export function bodyText(record: SeriesRecord): string {
  const part = record.bodyPart?.term;
  return part && part !== "unknown" ? part : known(record.bodyRegion);
}

/** A value as text; "–" where it is not known. */
export function known(value: unknown): string {
  if (value === null || value === undefined || value === "" || value === "unknown") return "–";
  if (Array.isArray(value)) return value.length ? value.map(String).join(", ") : "–";
  if (typeof value === "number") return numberText(value);
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "object") {
    const term = (value as { term?: unknown; meaning?: unknown }).meaning ?? (value as { term?: unknown }).term;
    return known(term ?? null);
  }
  return String(value);
}

/** What a series is called: its kind, its body part and how it lies. */
export function titleOf(record: SeriesRecord): string {
  const parts = [record.modality, bodyText(record), record.plane].map(known).filter((each) => each !== "–");
  return parts.join(" · ") || "Series";
}

export function describe(hit: Hit): string {
  const words = hit.descriptions.length ? hit.descriptions.join("; ") : "no description";
  return `${titleOf(hit)}: ${words}`;
}

export function shortUid(uid: string): string {
  return uid.length > 12 ? `…${uid.slice(-10)}` : uid;
}

/** A time as the reader's clock has it, to the minute. */
export function timeText(iso: string): string {
  const time = new Date(iso);
  if (Number.isNaN(time.getTime())) return iso;
  return time.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}
