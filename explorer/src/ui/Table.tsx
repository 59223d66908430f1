/**
 * The series that were found, as a table.
 *
 * Arrow keys go from row to row, Enter tells of one. Rows are one stop of the Tab key.
 */
import { Fragment } from "preact";
import { useRef, useState } from "preact/hooks";
import type { Hit } from "../api/types";
import { countText } from "../state/explorer";
import { Badges } from "./Badges";
import { useExplorer } from "./context";
import { Dialog } from "./Dialog";
import { ExportMenu } from "./ExportMenu";
import { ColumnsIcon, DownIcon, UpIcon } from "./icons";
import { SaveCohort } from "./SaveCohort";
import { Thumbnail } from "./Thumbnail";
import { bodyText, fieldText, known, shortUid } from "./words";

interface Column {
  readonly id: string;
  readonly label: string;
  /** The field that it can be sorted by. */
  readonly sort: string | null;
  readonly text: (hit: Hit) => string;
}

const plain = (field: string, sort: string | null = field): Column => ({
  id: field,
  label: fieldText(field),
  sort,
  text: (hit) => known(hit[field]),
});

const COLUMNS: readonly Column[] = [
  plain("modality"),
  { id: "body", label: "Body part", sort: "bodyRegion", text: bodyText },
  plain("plane"),
  plain("sequence", null),
  plain("contrast"),
  { id: "description", label: "Description", sort: null, text: (hit) => known(hit.descriptions) },
  plain("studyDate"),
  plain("instances"),
  plain("ageYears"),
  plain("sex"),
  plain("manufacturer"),
  plain("model"),
  plain("sliceThicknessMm"),
  plain("fieldStrengthT"),
  plain("flags", null),
  plain("scope"),
  { id: "series", label: "Series UID", sort: null, text: (hit) => shortUid(hit.seriesInstanceUid) },
  { id: "score", label: "Score", sort: null, text: (hit) => (hit.score === undefined ? "–" : hit.score.toFixed(3)) },
];
const FIRST = ["modality", "body", "plane", "sequence", "contrast", "description", "studyDate", "instances"];
const GROUPS: Record<string, string> = {
  fits: "Meet every condition",
  possible: "May fit: what is asked is not known of them",
  near: "Near, but not all that was asked for",
};

export function Table() {
  const explorer = useExplorer();
  const found = explorer.results.found.value;
  const ready = explorer.results.ready;
  const [shown, show] = useState<readonly string[]>(FIRST);
  const [isChoosing, choose] = useState(false);
  const columns = COLUMNS.filter((each) => shown.includes(each.id));
  return (
    <section class="panel results" aria-label="Series found" aria-busy={found.kind === "loading"}>
      <div class="panel-head">
        <h2>{headline(ready, found.kind)}</h2>
        {ready && ready.possible > 0 && ready.mode !== "like" && (
          <span class="hint">{countText(ready.possible)} more may fit</span>
        )}
        <span class="gap" />
        <SaveCohort />
        <ExportMenu />
        <button type="button" class="button quiet icon-only" aria-haspopup="dialog" aria-label="Choose columns" title="Choose columns" onClick={() => choose(true)}>
          <ColumnsIcon />
        </button>
      </div>
      {found.kind === "failed" ? <Failed /> : ready && (ready.hits.length ? <Rows columns={columns} /> : <NoHits />)}
      {isChoosing && (
        <Dialog title="Columns" onClose={() => choose(false)}>
          <fieldset class="checks">
            <legend class="visually-hidden">Columns of the table</legend>
            {COLUMNS.map((each) => (
              <label key={each.id}>
                <input
                  type="checkbox"
                  checked={shown.includes(each.id)}
                  onChange={() => show(shown.includes(each.id) ? shown.filter((one) => one !== each.id) : [...shown, each.id])}
                />
                {each.label}
              </label>
            ))}
          </fieldset>
        </Dialog>
      )}
    </section>
  );
}

function headline(ready: { count: number; mode: string } | null, kind: string): string {
  if (!ready) return kind === "failed" ? "No answer" : "Searching …";
  if (ready.mode === "like") return "Series that look like it";
  return countText(ready.count);
}

function Rows({ columns }: { columns: readonly Column[] }) {
  const explorer = useExplorer();
  const ready = explorer.results.ready;
  const place = explorer.place.value;
  const [active, activate] = useState(0);
  const body = useRef<HTMLTableElement>(null);
  if (!ready) return null;
  const { hits } = ready;
  const groups = groupsOf(hits);
  const isSortable = ready.mode !== "like" && !explorer.conditions.value.alternatives.length;
  const open = (hit: Hit): void => explorer.go({ series: hit.seriesKey.slice(0, 16) });
  const move = (event: KeyboardEvent): void => {
    // Buttons of the header have keys of their own.
    if (!(event.target as HTMLElement).matches("[data-row]")) return;
    const to = {
      ArrowDown: Math.min(hits.length - 1, active + 1),
      ArrowUp: Math.max(0, active - 1),
      Home: 0,
      End: hits.length - 1,
    }[event.key];
    const hit = hits[active];
    if (event.key === "Enter" && hit) open(hit);
    if (to === undefined) return;
    event.preventDefault();
    activate(to);
    body.current?.querySelector<HTMLElement>(`[data-row="${to}"]`)?.focus();
  };
  return (
    <div class="scrolling rows">
      <table ref={body} role="grid" aria-rowcount={ready.count} aria-label="Series" onKeyDown={move}>
        <thead>
          <tr>
            <th scope="col" class="picture"><span class="visually-hidden">Picture</span></th>
            {columns.map((each) => (
              <th key={each.id} scope="col" class={`column-${each.id}`} aria-sort={sortOf(place.sort, each)}>
                {each.sort && isSortable ? (
                  <button type="button" class="sort" onClick={() => explorer.go({ sort: nextSort(place.sort, each.sort as string) })}>
                    {each.label}
                    {place.sort === each.sort && <UpIcon />}
                    {place.sort === `-${each.sort}` && <DownIcon />}
                  </button>
                ) : each.label}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {groups.map(({ match, first, members }) => (
            <Fragment key={match}>
              {match !== "" && groups.some((each) => each.match !== "fits") && (
                <tr class="group"><th scope="rowgroup" colSpan={columns.length + 1}>{GROUPS[match] ?? match}</th></tr>
              )}
              {members.map((hit, i) => {
                const row = first + i;
                const isChosen = place.series !== null && hit.seriesKey.startsWith(place.series);
                return (
                  <tr
                    key={hit.seriesKey}
                    data-row={row}
                    tabIndex={row === Math.min(active, hits.length - 1) ? 0 : -1}
                    aria-selected={isChosen}
                    onClick={() => { activate(row); open(hit); }}
                    onFocus={() => activate(row)}
                  >
                    <td class="picture"><Thumbnail key={hit.seriesKey} of={hit.seriesKey} name={hit.modality} size="small" /></td>
                    {columns.map((each) => (
                      <td key={each.id} class={`column-${each.id}`} data-label={each.label}>
                        {each.text(hit)}
                        {each.id === "description" && <Badges record={hit} />}
                      </td>
                    ))}
                  </tr>
                );
              })}
            </Fragment>
          ))}
        </tbody>
      </table>
      {ready.next && (
        <button type="button" class="button more" disabled={explorer.results.isMore.value} onClick={() => void explorer.results.more()}>
          {explorer.results.isMore.value ? "Asking …" : "Show more"}
        </button>
      )}
    </div>
  );
}

/** Hits in the groups in which they come: those that fit, may fit and are near. */
function groupsOf(hits: readonly Hit[]): { match: string; first: number; members: Hit[] }[] {
  const groups: { match: string; first: number; members: Hit[] }[] = [];
  hits.forEach((hit, i) => {
    const match = hit.match ?? "";
    const last = groups[groups.length - 1];
    if (last && last.match === match) last.members.push(hit);
    else groups.push({ match, first: i, members: [hit] });
  });
  return groups;
}

function sortOf(sort: string | null, column: Column): "ascending" | "descending" | undefined {
  if (column.sort === null) return undefined;
  return sort === column.sort ? "ascending" : sort === `-${column.sort}` ? "descending" : undefined;
}

/** Ascending, descending, and back to the order in which they were found. */
function nextSort(sort: string | null, field: string): string | null {
  if (sort === field) return `-${field}`;
  return sort === `-${field}` ? null : field;
}

function NoHits() {
  const explorer = useExplorer();
  const ready = explorer.results.ready;
  const { filters, withUnknown } = explorer.conditions.value;
  const left = Object.entries(ready?.interpretation?.unknown ?? {}).filter(([, count]) => count > 0);
  return (
    <div class="empty">
      <p><b>No series meets these conditions.</b></p>
      {left.map(([field, count]) => (
        <p key={field}>
          {countText(count)} left out only because {fieldText(field).toLowerCase()} is unknown.{" "}
          <button type="button" class="link" onClick={() => explorer.edit(filters, [...withUnknown, field])}>Take them in</button>
        </p>
      ))}
      {filters.length > 0 && <p>Take a condition away above, or <button type="button" class="link" onClick={() => explorer.startAnew()}>start anew</button>.</p>}
    </div>
  );
}

function Failed() {
  const explorer = useExplorer();
  const found = explorer.results.found.value;
  if (found.kind !== "failed") return null;
  const { problem } = found;
  const place = explorer.place.value;
  return (
    <div class="empty" role="alert">
      {problem.code === "manifestExpired" ? (
        <>
          <p><b>{place.at === null ? "What was listed" : `Manifest ${place.at}`} is not kept any more.</b></p>
          <p>
            <button type="button" class="button" onClick={() => (place.at === null ? explorer.again() : explorer.go({ at: null }))}>
              Look at the newest one
            </button>
          </p>
        </>
      ) : problem.code === "notFound" && !place.like && !place.cohort ? (
        <p><b>Nothing is indexed yet.</b></p>
      ) : (
        <>
          <p><b>This cannot be answered:</b> {problem.message}</p>
          <div class="row-of-buttons">
            <button type="button" class="button" onClick={() => explorer.again()}>Try again</button>
            {place.cohort && <button type="button" class="button" onClick={() => explorer.go({ cohort: null })}>Show all series</button>}
          </div>
        </>
      )}
    </div>
  );
}
