/** The fields of a series that a condition, a colour or an order can be of. */

/** What a series is of and how it was made. */
const DESCRIBING = [
  "modality",
  "bodyRegion",
  "bodyPart",
  "plane",
  "sequence",
  "contrast",
  "manufacturer",
  "model",
  "sex",
  "ageYears",
  "studyDate",
  "sliceThicknessMm",
  "fieldStrengthT",
] as const;

/** Fields that a condition can be about, in the order in which they are offered. */
export const FILTER_FIELDS: readonly string[] = [
  ...DESCRIBING,
  "instances",
  "frames",
  "hasPixels",
  "flags",
  "headerModality",
  "scope",
  "studyInstanceUid",
  "seriesInstanceUid",
  "patientKey",
];

/** Fields that the map can be coloured by. */
export const COLOUR_FIELDS: readonly string[] = [...DESCRIBING, "flags", "scope"];

export function isFilterField(name: string): boolean {
  return FILTER_FIELDS.includes(name);
}

export function isColourField(name: string): boolean {
  return COLOUR_FIELDS.includes(name);
}
