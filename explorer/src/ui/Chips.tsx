/** What was understood: conditions as chips that can be changed, added and taken away. */
import { useId, useRef, useState } from "preact/hooks";
import { type Filter, formatFilter, OPERATORS, type Operator, parseFilter } from "../state/filters";
import { FILTER_FIELDS } from "../state/fields";
import { useExplorer } from "./context";
import { Dialog } from "./Dialog";
import { CloseIcon, PlusIcon } from "./icons";
import { fieldText, filterText, operatorText } from "./words";

export function Chips() {
  const explorer = useExplorer();
  const place = explorer.place.value;
  const { filters, alternatives, withUnknown } = explorer.conditions.value;
  const said = explorer.results.ready?.interpretation;
  const narrowed = explorer.restriction.value;
  const [edited, edit] = useState<number | null>(null);
  const adder = useRef<HTMLButtonElement>(null);
  // The button that was pressed goes with its chip: the focus must not fall off the page.
  const removing = (work: () => void) => (): void => {
    adder.current?.focus();
    work();
  };
  const wordsOf = (filter: Filter): string => {
    const found = said?.filters.find((each) => formatFilter({ ...each, operator: each.operator as Operator }) === formatFilter(filter));
    return found?.words?.length ? `read from “${found.words.join("”, “")}”` : "set by you";
  };
  const without = (place: number): Filter[] => filters.filter((_, i) => i !== place);
  return (
    <div class="chips" role="group" aria-label="Conditions">
      {place.like && (
        <span class="chip like">
          <span class="chip-text">Looks like one series</span>
          <Remove label="No longer by likeness" onClick={removing(() => explorer.go({ like: null }))} />
        </span>
      )}
      {narrowed && (
        <span class="chip narrowed">
          <span class="chip-text">{narrowed.label}</span>
          <Remove label={`Not only ${narrowed.label}`} onClick={removing(() => explorer.uncircle())} />
        </span>
      )}
      {filters.map((filter, i) => (
        <span class="chip" key={formatFilter(filter)}>
          <button
            type="button"
            class="chip-text"
            title={wordsOf(filter)}
            aria-label={`Change the condition: ${filterText(filter)}`}
            aria-haspopup="dialog"
            onClick={() => edit(i)}
          >
            <span class="chip-field">{fieldText(filter.field)}</span> {operatorText(filter.operator)}{" "}
            <b>{filter.values.join(" or ")}</b>
          </button>
          <Remove
            label={`Take away the condition: ${filterText(filter)}`}
            onClick={removing(() => explorer.edit(without(i)))}
          />
        </span>
      ))}
      {alternatives.length > 0 && (
        <span class="chip">
          <span class="chip-text">
            {alternatives.map((branch) => branch.map(filterText).join(" and ")).join(" — or — ")}
          </span>
          <Remove label="Take away these conditions" onClick={removing(() => explorer.edit(filters))} />
        </span>
      )}
      {withUnknown.map((field) => (
        <span class="chip unknown" key={field}>
          <span class="chip-text">{fieldText(field)} may be unknown</span>
          <Remove
            label={`${fieldText(field)} may not be unknown`}
            onClick={removing(() => explorer.edit(filters, withUnknown.filter((each) => each !== field)))}
          />
        </span>
      ))}
      <button ref={adder} type="button" class="chip add" aria-haspopup="dialog" onClick={() => edit(-1)}>
        <PlusIcon /> Condition
      </button>
      {edited !== null && (
        <Editor
          filter={filters[edited] ?? null}
          onSave={(filter) => {
            const next = edited < 0 ? [...filters, filter] : filters.map((each, i) => (i === edited ? filter : each));
            explorer.edit(next);
            edit(null);
          }}
          onClose={() => edit(null)}
        />
      )}
    </div>
  );
}

function Remove({ label, onClick }: { label: string; onClick: () => void }) {
  return (
    <button type="button" class="chip-remove" aria-label={label} onClick={onClick}>
      <CloseIcon />
    </button>
  );
}

interface EditorProps {
  filter: Filter | null;
  onSave: (filter: Filter) => void;
  onClose: () => void;
}

function Editor({ filter, onSave, onClose }: EditorProps) {
  const explorer = useExplorer();
  const [field, setField] = useState<string>(filter?.field ?? "modality");
  const [operator, setOperator] = useState<Operator>(filter?.operator ?? "=");
  const [values, setValues] = useState(filter?.values.join(", ") ?? "");
  const [isWrong, setWrong] = useState(false);
  const list = useId();
  const offered = explorer.results.facets.value?.[field]?.values.map((each) => each.value) ?? [];
  const save = (event: Event): void => {
    event.preventDefault();
    const made = parseFilter(`${field}${operator}${values}`);
    if (made) onSave(made);
    else setWrong(true);
  };
  return (
    <Dialog title={filter ? "Change a condition" : "Add a condition"} onClose={onClose}>
      <form class="form" onSubmit={save}>
        <label>
          Field
          <select value={field} onChange={(event) => setField(event.currentTarget.value)}>
            {FILTER_FIELDS.map((each) => <option key={each} value={each}>{fieldText(each)}</option>)}
          </select>
        </label>
        <label>
          Comparison
          <select value={operator} onChange={(event) => setOperator(event.currentTarget.value as Operator)}>
            {OPERATORS.map((each) => <option key={each} value={each}>{operatorText(each)}</option>)}
          </select>
        </label>
        <label>
          Values, with commas between
          <input
            type="text"
            value={values}
            list={list}
            autocomplete="off"
            aria-invalid={isWrong}
            onInput={(event) => { setValues(event.currentTarget.value); setWrong(false); }}
          />
          <datalist id={list}>{offered.map((each) => <option key={each} value={each} />)}</datalist>
        </label>
        {isWrong && <p class="error" role="alert">Say at least one value; “unknown” finds what lacks the field.</p>}
        <div class="row-of-buttons end">
          <button type="button" class="button" onClick={onClose}>Cancel</button>
          <button type="submit" class="button primary">Apply</button>
        </div>
      </form>
    </Dialog>
  );
}
