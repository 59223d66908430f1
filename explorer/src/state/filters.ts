/** Filters as the API writes them, `field=value,value`, and what the page does with lists of them. */

export const OPERATORS = ["=", "!=", ">=", "<=", ">", "<", "~", "!~"] as const;
export type Operator = (typeof OPERATORS)[number];

export interface Filter {
  readonly field: string;
  readonly operator: Operator;
  readonly values: readonly string[];
}

export const UNKNOWN = "unknown";

const FORM = /^\s*(\w+)\s*(!=|!~|>=|<=|=|>|<|~)\s*([\s\S]*?)\s*$/;

/** Reads a filter; null where it has no such form or no value. */
export function parseFilter(text: string): Filter | null {
  const match = FORM.exec(text);
  if (!match) return null;
  const values = (match[3] ?? "").split(",").map((each) => each.trim()).filter(Boolean);
  if (!values.length) return null;
  return { field: match[1] ?? "", operator: match[2] as Operator, values };
}

export function formatFilter(filter: Filter): string {
  return `${filter.field}${filter.operator}${filter.values.join(",")}`;
}

export function sameFilter(one: Filter, other: Filter): boolean {
  return formatFilter(one) === formatFilter(other);
}

export function sameFilters(some: readonly Filter[], others: readonly Filter[]): boolean {
  return some.map(formatFilter).join("\n") === others.map(formatFilter).join("\n");
}

/** Whether a value can be written in a filter: commas and semicolons separate values and filters. */
export function canBeAsked(value: string): boolean {
  return !/[,;]/.test(value);
}

/** Whether a list asks for this value of a field. */
export function hasValue(filters: readonly Filter[], field: string, value: string): boolean {
  return filters.some((each) => each.field === field && each.operator === "=" && includes(each.values, value));
}

/** The list with a value of a field asked for too, or no longer. Other filters on it stay. */
export function toggled(filters: readonly Filter[], field: string, value: string): Filter[] {
  const place = filters.findIndex((each) => each.field === field && each.operator === "=");
  const found = filters[place];
  if (!found) return [...filters, { field, operator: "=", values: [value] }];
  const values = includes(found.values, value)
    ? found.values.filter((each) => !equal(each, value))
    : [...found.values, value];
  const next = [...filters];
  if (values.length) next[place] = { ...found, values };
  else next.splice(place, 1);
  return next;
}

/** A band of numbers: from the first value on, below the second; null where it is open. */
export interface Band {
  from: number | null;
  below: number | null;
}

export function bandFilters(field: string, band: Band): Filter[] {
  const filters: Filter[] = [];
  if (band.from !== null) filters.push({ field, operator: ">=", values: [String(band.from)] });
  if (band.below !== null) filters.push({ field, operator: "<", values: [String(band.below)] });
  return filters;
}

export function hasBand(filters: readonly Filter[], field: string, band: Band): boolean {
  const wanted = bandFilters(field, band);
  return wanted.length > 0 && wanted.every((each) => filters.some((other) => sameFilter(each, other)));
}

/** The list with this band in place of every other condition on its field, or without any. */
export function bandToggled(filters: readonly Filter[], field: string, band: Band): Filter[] {
  const others = filters.filter((each) => each.field !== field);
  return hasBand(filters, field, band) ? others : [...others, ...bandFilters(field, band)];
}

function includes(values: readonly string[], value: string): boolean {
  return values.some((each) => equal(each, value));
}

function equal(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}
