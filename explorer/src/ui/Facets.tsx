/** What the series consist of: counts by value, each a condition to set or take away. */
import { useState } from "preact/hooks";
import type { Facet, FacetValue } from "../api/types";
import { type Band, bandToggled, canBeAsked, type Filter, hasBand, hasValue, toggled, UNKNOWN } from "../state/filters";
import { FACET_FIELDS } from "../state/results";
import { useExplorer } from "./context";
import { fieldText, numberText, spaced } from "./words";

const SHOWN = 6;
const OPEN = new Set(["modality", "bodyRegion", "plane", "sequence", "contrast"]);

export function Facets() {
  const explorer = useExplorer();
  const facets = explorer.results.facets.value;
  if (!facets) return <p class="hint pad">Counts appear here once something is found.</p>;
  const told = FACET_FIELDS.filter((field) => facets[field]?.values.length || facets[field]?.isWithheld);
  return (
    <div class="facets">
      {told.map((field) => <FacetGroup key={field} field={field} facet={facets[field] as Facet} />)}
    </div>
  );
}

function FacetGroup({ field, facet }: { field: string; facet: Facet }) {
  const explorer = useExplorer();
  const { filters, alternatives } = explorer.conditions.value;
  const [isAll, showAll] = useState(false);
  const most = Math.max(1, facet.unknown ?? 0, ...facet.values.map((each) => each.count ?? 0));
  const isSet = filters.some((each) => each.field === field);
  const values = isAll ? facet.values : facet.values.slice(0, SHOWN);
  const set = (next: Filter[]): void => explorer.edit(next);
  return (
    <details class="facet" open={OPEN.has(field) || isSet}>
      <summary>
        {fieldText(field)}
        {isSet && <span class="dot" aria-label="a condition is set" role="img" />}
      </summary>
      {facet.isWithheld ? (
        <p class="hint">Too few to be told.</p>
      ) : (
        <ul>
          {values.map((each) => {
            const band = bandOf(each);
            const isOn = band ? hasBand(filters, field, band) : hasValue(filters, field, each.value);
            return (
              <FacetLine
                key={each.value}
                name={`${fieldText(field)}: ${each.value}`}
                text={field === "flags" ? spaced(each.value) : each.value}
                count={each.count}
                share={(each.count ?? 0) / most}
                isOn={isOn}
                isFixed={alternatives.length > 0 || !(band || canBeAsked(each.value))}
                onClick={() => set(band ? bandToggled(filters, field, band) : toggled(filters, field, each.value))}
              />
            );
          })}
          {(facet.unknown ?? 0) > 0 && field !== "flags" && (
            <FacetLine
              name={`${fieldText(field)}: unknown`}
              text="unknown"
              count={facet.unknown}
              share={(facet.unknown ?? 0) / most}
              isOn={hasValue(filters, field, UNKNOWN)}
              isFixed={alternatives.length > 0}
              isUnknown
              onClick={() => set(toggled(filters, field, UNKNOWN))}
            />
          )}
          {facet.values.length > SHOWN && (
            <li>
              <button type="button" class="link" onClick={() => showAll(!isAll)}>
                {isAll ? "Fewer" : `${facet.values.length - SHOWN} more`}
                <span class="visually-hidden"> values of {fieldText(field)}</span>
              </button>
            </li>
          )}
        </ul>
      )}
    </details>
  );
}

interface LineProps {
  name: string;
  text: string;
  count: number | null;
  share: number;
  isOn: boolean;
  isFixed: boolean;
  isUnknown?: boolean;
  onClick: () => void;
}

function FacetLine({ name, text, count, share, isOn, isFixed, isUnknown, onClick }: LineProps) {
  return (
    <li>
      <label class={isUnknown ? "facet-line faint" : "facet-line"}>
        <input type="checkbox" checked={isOn} disabled={isFixed} aria-label={name} onChange={onClick} />
        <span class="facet-text">{text}</span>
        <span class="facet-count">{numberText(count)}</span>
        <span class="bar" aria-hidden="true">
          <span style={{ width: `${Math.max(1, 100 * share).toFixed(1)}%` }} />
        </span>
      </label>
    </li>
  );
}

function bandOf(value: FacetValue): Band | null {
  const from = value.from ?? null;
  const below = value.below ?? null;
  return from === null && below === null ? null : { from, below };
}
