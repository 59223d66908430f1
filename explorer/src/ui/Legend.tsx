/** What the colours of the map mean, and the field that they are of. */
import { useState } from "preact/hooks";
import { COLOUR_FIELDS } from "../state/fields";
import { canBeAsked, hasValue, toggled } from "../state/filters";
import { useExplorer } from "./context";
import { fieldText, numberText } from "./words";

export function Legend() {
  const explorer = useExplorer();
  const { colour } = explorer.place.value;
  const colours = explorer.colours.value;
  const { filters, alternatives } = explorer.conditions.value;
  const [isFolded, fold] = useState(() => window.innerWidth < 900);
  return (
    <div class="legend">
      <div class="legend-head">
        <label>
          <span class="visually-hidden">Colour by</span>
          <select value={colour} onChange={(event) => explorer.go({ colour: event.currentTarget.value })}>
            {COLOUR_FIELDS.map((each) => <option key={each} value={each}>{fieldText(each)}</option>)}
          </select>
        </label>
        <button type="button" class="link" aria-expanded={!isFolded} onClick={() => fold(!isFolded)}>
          {isFolded ? "Show" : "Hide"}
          <span class="visually-hidden"> the legend</span>
        </button>
      </div>
      {!isFolded && (
        <ul>
          {colours?.entries.map((each) => {
            const isBand = each.value !== null && /\d/.test(each.value) && /^[<>≥≤]?\s*-?\d/.test(each.value);
            const swatch = <span class="swatch" style={{ backgroundColor: each.colour }} aria-hidden="true" />;
            const inside = (
              <>
                {swatch}
                <span class="legend-text">{each.label}</span>
                <span class="legend-count">{numberText(each.count)}</span>
              </>
            );
            const value = each.value;
            // "none" stands for series without a flag, which no condition asks for.
            const isNone = colour === "flags" && value === "none";
            if (value === null || isNone || isBand || alternatives.length || !canBeAsked(value)) {
              return <li key={each.label} class="legend-line">{inside}</li>;
            }
            return (
              <li key={each.label}>
                <button
                  type="button"
                  class="legend-line"
                  aria-pressed={hasValue(filters, colour, value)}
                  onMouseEnter={() => { explorer.pointedOut.value = value; }}
                  onMouseLeave={() => { explorer.pointedOut.value = null; }}
                  onClick={() => {
                    explorer.pointedOut.value = null;
                    explorer.edit(toggled(filters, colour, value));
                  }}
                >
                  {inside}
                </button>
              </li>
            );
          })}
        </ul>
      )}
    </div>
  );
}
