/** Save what the question finds, or what was circled, under a name. */
import { useState } from "preact/hooks";
import { formatFilter } from "../state/filters";
import { useExplorer } from "./context";
import { Dialog } from "./Dialog";
import { StackIcon } from "./icons";

export function SaveCohort() {
  const explorer = useExplorer();
  const [isOpen, open] = useState(false);
  const isPast = explorer.place.value.at !== null;
  return (
    <>
      <button
        type="button"
        class="button quiet"
        disabled={isPast || !explorer.results.canBeKept}
        aria-haspopup="dialog"
        title={isPast ? "A cohort is of the newest manifest: go back to it first" : undefined}
        onClick={() => { explorer.cohorts.saving.value = null; open(true); }}
      >
        <StackIcon /> Save as cohort
      </button>
      {isOpen && <SaveDialog onClose={() => open(false)} />}
    </>
  );
}

function SaveDialog({ onClose }: { onClose: () => void }) {
  const explorer = useExplorer();
  const place = explorer.place.value;
  const narrowed = explorer.restriction.value;
  const count = explorer.results.ready?.count ?? 0;
  const { filters, withUnknown } = explorer.conditions.value;
  const [name, setName] = useState("");
  const [purpose, setPurpose] = useState("");
  const isQuestion = narrowed === null;
  const save = async (event: Event): Promise<void> => {
    event.preventDefault();
    const saved = await explorer.cohorts.save(async () => ({
      name,
      ...(purpose ? { purpose } : {}),
      ...(narrowed
        ? { uids: await explorer.keysFound() }
        : {
            ...(place.text.trim() ? { text: place.text.trim(), interpret: place.read } : {}),
            filters: (place.read ? place.filters : filters).map(formatFilter),
            withUnknown: [...withUnknown],
          }),
    }));
    if (!saved) return;
    const left = narrowed && saved.series !== null ? count - saved.series : 0;
    explorer.said.value = `cohort ${saved.name}, version ${saved.version}, is saved`;
    if (left > 0) explorer.fail(new Error(`${left} of the series are not there any more, and not in the cohort`));
    onClose();
    explorer.go({ tab: "cohorts", series: null });
    void explorer.cohorts.open(saved);
  };
  const problem = explorer.cohorts.saving.value;
  return (
    <Dialog title="Save as cohort" onClose={onClose}>
      <form class="form" onSubmit={(event) => void save(event)}>
        <p class="hint">
          {isQuestion
            ? `The question and all ${count.toLocaleString("en")} series that meet it now. Later it tells what has come, changed and gone since.`
            : `These ${count.toLocaleString("en")} series, one by one.`}{" "}
          A name that is taken gets its next version.
        </p>
        <label>
          Name
          <input
            type="text"
            required
            pattern="[A-Za-z0-9][A-Za-z0-9_\-]{0,47}"
            title="Letters, digits, - and _; it begins with a letter or digit"
            value={name}
            autocomplete="off"
            onInput={(event) => setName(event.currentTarget.value)}
          />
        </label>
        <label>
          Purpose (optional)
          <input type="text" maxLength={2000} value={purpose} autocomplete="off" onInput={(event) => setPurpose(event.currentTarget.value)} />
        </label>
        {problem && <p class="error" role="alert">It is not saved: {problem.message}</p>}
        <div class="row-of-buttons end">
          <button type="button" class="button" onClick={onClose}>Cancel</button>
          <button type="submit" class="button primary" disabled={explorer.cohorts.isBusy.value}>
            {explorer.cohorts.isBusy.value ? "Saving …" : "Save"}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
