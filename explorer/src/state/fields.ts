/** The fields of a series that a condition, a colour or an order can be of. */

/** Fields that a condition can be about, in the order in which they are offered. */
export const FILTER_FIELDS = [
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
  "instances",
  "frames",
  "hasPixels",
  "flags",
  "headerModality",
  "scope",
  "studyInstanceUid",
  "seriesInstanceUid",
  "patientKey",
] as const;

/** Fields that the map can be coloured by. */
export const COLOUR_FIELDS = [
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
  "flags",
  "scope",
] as const;

export function isFilterField(name: string): boolean {
  return (FILTER_FIELDS as readonly string[]).includes(name);
}

export function isColourField(name: string): boolean {
  return (COLOUR_FIELDS as readonly string[]).includes(name);
}
