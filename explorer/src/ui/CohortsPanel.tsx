/** Saved cohorts, and all of one: its question, what was left out on the way, its balance, its news. */
import { useEffect } from "preact/hooks";
import type { AttritionRow, CohortSummary, Difference } from "../api/types";
import { countText } from "../state/explorer";
import { Balance } from "./Balance";
import { useExplorer } from "./context";
import { Formats } from "./ExportMenu";
import { CloseIcon } from "./icons";
import { numberText, shortUid, timeText } from "./words";

export function CohortsPanel() {
  const explorer = useExplorer();
  const { all, opened, problem } = explorer.cohorts;
  useEffect(() => void explorer.cohorts.list(), []);
  const found = opened.value;
  return (
    <section class="panel cohorts" aria-label="Cohorts">
      <div class="panel-head">
        <h2>{found ? `${found.cohort.name}, version ${found.cohort.version}` : "Cohorts"}</h2>
        {found ? (
          <button type="button" class="button bare" onClick={() => explorer.cohorts.close()}>All cohorts</button>
        ) : (
          <button type="button" class="button bare icon-only wide-only" aria-label="Close" onClick={() => explorer.go({ tab: "map" })}><CloseIcon /></button>
        )}
      </div>
      {problem.value && <p class="error pad" role="alert">{problem.value.message}</p>}
      {found ? <OneCohort /> : <AllCohorts all={all.value} />}
    </section>
  );
}

function AllCohorts({ all }: { all: readonly CohortSummary[] | null }) {
  const explorer = useExplorer();
  if (all === null) return <p class="hint pad">Asking for the cohorts …</p>;
  if (!all.length) {
    return (
      <div class="empty">
        <p><b>No cohort is saved yet.</b></p>
        <p>Search, set conditions or circle series on the map, then “Save as cohort”: it keeps the question, the series and the state of the index that they are from.</p>
      </div>
    );
  }
  return (
    <ul class="cohort-list">
      {all.map((each) => (
        <li key={`${each.name}@${each.version}`}>
          <button type="button" onClick={() => void explorer.cohorts.open(each)}>
            <b>{each.name}</b> <span class="pill">v{each.version}</span>
            <span class="cohort-count">{each.series === null ? "few series" : countText(each.series)}</span>
            <span class="hint">
              {questionText(each)} · {timeText(each.created)}
              {each.purpose ? ` · ${each.purpose}` : ""}
            </span>
          </button>
        </li>
      ))}
    </ul>
  );
}

function questionText(cohort: CohortSummary): string {
  const parts = [cohort.text ? `“${cohort.text}”` : "", ...cohort.filters].filter(Boolean);
  return parts.length ? parts.join(", ") : "series chosen one by one";
}

function OneCohort() {
  const explorer = useExplorer();
  const opened = explorer.cohorts.opened.value;
  if (!opened) return null;
  const { cohort, news, compared } = opened;
  const place = explorer.place.value;
  const isShown = place.cohort?.name === cohort.name && place.cohort.version === cohort.version;
  const others = (explorer.cohorts.all.value ?? []).filter((each) => each.name !== cohort.name || each.version !== cohort.version);
  return (
    <div class="details-inside">
      <p>{questionText(cohort)}</p>
      <p class="hint">
        {cohort.series === null ? "Few series" : countText(cohort.series)} of manifest {cohort.manifest}, saved{" "}
        {timeText(cohort.created)} by {cohort.createdBy}
        {cohort.purpose ? ` for ${cohort.purpose}` : ""}
        {cohort.asSaved ? "" : "; some have been erased since"}
      </p>
      <News news={news} />
      <div class="row-of-buttons">
        <button
          type="button"
          class="button"
          aria-pressed={isShown}
          onClick={() => explorer.go({ cohort: isShown ? null : { name: cohort.name, version: cohort.version }, text: "", filters: [], withUnknown: [], like: null })}
        >
          {isShown ? "Show all series again" : "Show on the map"}
        </button>
        {(cohort.text !== "" || cohort.filters.length > 0) && (
          <button type="button" class="button" onClick={() => explorer.askAsCohort(cohort)}>Ask its question now</button>
        )}
      </div>
      <h3>What was left out on the way</h3>
      <Attrition rows={cohort.attrition} />
      <h3>Balance</h3>
      <Balance card={cohort.card} />
      <h3>Export</h3>
      <Formats file={(format) => explorer.api.cohortFile(cohort.name, cohort.version, format)} />
      {others.length > 0 && (
        <>
          <h3>Compare</h3>
          <label class="form">
            With
            <select
              value=""
              onChange={(event) => {
                const other = others[Number(event.currentTarget.value)];
                if (other) void explorer.cohorts.compare(other);
              }}
            >
              <option value="" disabled>Choose a cohort</option>
              {others.map((each, i) => <option key={`${each.name}@${each.version}`} value={i}>{each.name}, version {each.version}</option>)}
            </select>
          </label>
          {compared && (
            <div>
              <p>From this one to {compared.with.name}, version {compared.with.version}:</p>
              <Changes difference={compared.difference} />
            </div>
          )}
        </>
      )}
    </div>
  );
}

function News({ news }: { news: Difference | null }) {
  if (!news) return <p class="hint">Asking what has happened since …</p>;
  const count = (name: string): number => news.counts[name] ?? 0;
  const total = count("added") + count("removed") + count("changed") + count("deleted") + count("erased");
  if (!total) return <p class="notice calm">Nothing has changed since it was saved.</p>;
  return (
    <div class="notice">
      <b>{count("added")} new since it was saved</b>
      <Changes difference={news} />
    </div>
  );
}

function Changes({ difference }: { difference: Difference }) {
  const told = Object.entries(difference.counts).filter(([, count]) => count > 0);
  if (!told.length) return <p class="hint">Both hold the same series.</p>;
  const shown = difference.series.slice(0, 100);
  return (
    <>
      <p>{told.map(([name, count]) => `${count} ${name}`).join(", ")}</p>
      {shown.length > 0 && (
        <details>
          <summary>Which</summary>
          <ul class="changes">
            {shown.map((each) => (
              <li key={`${each.change}${each.seriesInstanceUid}`}>
                <span class="pill">{each.change}</span> <code>{shortUid(each.seriesInstanceUid)}</code>{" "}
                {each.why ?? ""}{each.fields?.length ? each.fields.join(", ") : ""}
              </li>
            ))}
          </ul>
          {difference.series.length > shown.length && <p class="hint">and {difference.series.length - shown.length} more</p>}
        </details>
      )}
    </>
  );
}

function Attrition({ rows }: { rows: readonly AttritionRow[] }) {
  const most = Math.max(1, ...rows.map((each) => each.series ?? 0));
  return (
    <table class="plain attrition">
      <thead>
        <tr><th scope="col">Condition</th><th scope="col">Left</th><th scope="col">Unknown</th></tr>
      </thead>
      <tbody>
        {rows.map((each, i) => (
          <tr key={i}>
            <th scope="row">
              {each.label}
              <span class="bar" aria-hidden="true"><span style={{ width: `${(100 * (each.series ?? 0)) / most}%` }} /></span>
            </th>
            <td>{numberText(each.series)}</td>
            <td>{i ? numberText(each.unknown) : ""}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
