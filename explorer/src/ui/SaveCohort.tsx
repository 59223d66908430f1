/** Save what the question finds, or what was circled, under a name. */
import { useState } from "preact/hooks";
import { formatFilter } from "../state/filters";
import { useExplorer } from "./context";
import { Dialog } from "./Dialog";
import { StackIcon } from "./icons";

export function SaveCohort() {
  const explorer = useExplorer();
  const [isOpen, open] = useState(false);
  const ready = explorer.results.ready;
  const isFor = ready !== null && ready.count > 0 && ready.mode !== "like";
  return (
    <>
      <button type="button" class="button quiet" disabled={!isFor} aria-haspopup="dialog" onClick={() => open(true)}>
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
    const saved = await explorer.cohorts.save({
      name,
      ...(purpose ? { purpose } : {}),
      ...(narrowed
        ? { uids: await explorer.keysFound() }
        : {
            ...(place.text.trim() ? { text: place.text.trim(), interpret: place.read } : {}),
            filters: (place.read ? place.filters : filters).map(formatFilter),
            withUnknown: [...withUnknown],
          }),
    });
    if (!saved) return;
    explorer.said.value = `cohort ${saved.name}, version ${saved.version}, is saved`;
    onClose();
    explorer.go({ tab: "cohorts" });
    void explorer.cohorts.open(saved);
  };
  const problem = explorer.cohorts.problem.value;
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
