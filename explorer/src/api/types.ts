/** What the API answers, as far as the page reads it. Everything else of an answer is left alone. */

export interface Evidence {
  value?: string | string[] | null;
  source: string;
  confidence: number;
  from?: "header" | "model";
}

/** One series, as `/api/series` tells it. `Value`s of further fields are shown as they come. */
export interface SeriesRecord {
  seriesKey: string;
  scope: string;
  seriesInstanceUid: string;
  studyInstanceUid: string;
  modality: string;
  bodyRegion: string;
  bodyPart: { term: string; meaning?: string | null; code?: string | null } | null;
  plane: string;
  sequence: string[];
  contrast: string;
  descriptions: string[];
  flags: string[];
  x: number | null;
  y: number | null;
  evidence?: Record<string, Evidence>;
  texts?: string[];
  [field: string]: unknown;
}

export interface Why {
  similarity: number | null;
  pixelSimilarity?: number | null;
  foundBy?: string[];
  words?: string[];
  template?: string | null;
  text?: string | null;
  filters: string[];
  unknown?: string[];
  unmet?: string[];
  evidence: Record<string, Evidence>;
  flags?: string[];
}

/** A series that was found: `match` says whether it fits the filters, may fit, or is near. */
export interface Hit extends SeriesRecord {
  score?: number;
  match?: "fits" | "possible" | "near" | string;
  why?: Why;
}

export interface FilterJson {
  field: string;
  operator: string;
  values: string[];
  from?: "request" | "query";
  words?: string[];
}

export interface Interpretation {
  text: string;
  rest?: string;
  filters: FilterJson[];
  alternatives?: FilterJson[][];
  unknown: Record<string, number>;
  withUnknown?: string[];
  corrections?: { from: string; to: string }[];
}

export interface FacetValue {
  value: string;
  count: number | null;
  from?: number | null;
  below?: number | null;
}

export interface Facet {
  values: FacetValue[];
  unknown: number | null;
  other: number | null;
  isWithheld: boolean;
}

export type Facets = Record<string, Facet>;

/** A page of series. `nextLink` is asked by the same method and, after POST, with the same body. */
export interface Answer {
  value: Hit[];
  manifest: number;
  nextLink: string | null;
  count?: number;
  possible?: number;
  fit?: string;
  interpretation?: Interpretation;
  facets?: Facets;
}

export interface FacetsAnswer {
  facets: Facets;
  count: number | null;
  manifest: number;
}

export interface ManifestEntry {
  manifest: number;
  created: string;
  reason: string;
  projectionVersion: string | null;
  pins: string[];
  counts: Record<string, number> | null;
}

export interface Settings {
  viewer: string | null;
  version: string;
}

export interface CohortSummary {
  name: string;
  version: number;
  kind: string;
  created: string;
  createdBy: string;
  purpose: string;
  text: string;
  filters: string[];
  manifest: number;
  series: number | null;
  erased: number | null;
  digest: string;
  asSaved: boolean;
}

export interface AttritionRow {
  label: string;
  series: number | null;
  unknown: number | null;
}

export interface BalanceCell {
  value: string;
  series: number | null;
  patients: number | null;
  share: number | null;
}

export interface Cohort extends CohortSummary {
  deleted: number | null;
  attrition: AttritionRow[];
  card: {
    series: number | null;
    patients: number | null;
    studies: number | null;
    fields: Record<string, BalanceCell[]>;
  };
}

export interface Difference {
  before: number;
  after: number;
  counts: Record<string, number>;
  series: { change: string; seriesInstanceUid: string; why?: string; fields?: string[] }[];
}

/** Conditions of a question as bodies of requests carry them. */
export interface ConditionsBody {
  filters?: string[];
  withUnknown?: string[];
  series?: string[];
  manifest?: number;
}
