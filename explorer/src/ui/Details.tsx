/** All that is known of one series, and why it was found. */
import { Fragment } from "preact";
import { useState } from "preact/hooks";
import { Problem } from "../api/client";
import type { Evidence, Hit, SeriesRecord, Why } from "../api/types";
import { parseFilter } from "../state/filters";
import { Badges } from "./Badges";
import { useExplorer } from "./context";
import { CloseIcon, CopyIcon, LinkIcon } from "./icons";
import { Thumbnail } from "./Thumbnail";
import { fieldText, filterText, known, spaced, titleOf } from "./words";
import { viewerAddress } from "./viewer";

const TOLD = [
  "studyDate", "instances", "frames", "sliceThicknessMm", "fieldStrengthT", "manufacturer", "model", "sex", "ageYears",
  "scope", "revision",
];

export function Details() {
  const explorer = useExplorer();
  const { series } = explorer.place.value;
  if (!series) return null;
  const found = explorer.record.value;
  const hit = explorer.results.ready?.hits.find((each) => each.seriesKey.startsWith(series));
  return (
    <section class="panel details" aria-label="One series">
      <div class="panel-head">
        <h2>{found && !(found instanceof Problem) ? titleOf(found) : "Series"}</h2>
        <button type="button" class="button bare icon-only" aria-label="Close" onClick={() => {
            document.querySelector<HTMLElement>(".results tr[aria-selected='true'], .results tr[tabindex='0']")?.focus();
            explorer.go({ series: null });
          }}>
          <CloseIcon />
        </button>
      </div>
      {found === null && <p class="hint pad">Asking for it …</p>}
      {found instanceof Problem && (
        <p class="error pad" role="alert">
          {found.code === "notFound" ? "This series is not in the index (any more)." : found.message}
        </p>
      )}
      {found && !(found instanceof Problem) && <Told record={found} hit={hit ?? null} />}
    </section>
  );
}

function Told({ record, hit }: { record: SeriesRecord; hit: Hit | null }) {
  const explorer = useExplorer();
  const viewer = explorer.settings.value?.viewer;
  return (
    <div class="details-inside">
      <div class="details-top">
        <Thumbnail key={record.seriesKey} of={record.seriesKey} name={record.modality} size="large" />
        <div>
          <p class="details-words">{record.descriptions.length ? record.descriptions.join("; ") : "No description"}</p>
          <Badges record={record} />
        </div>
      </div>
      <div class="row-of-buttons">
        <button type="button" class="button" disabled={!record["hasPixels"]} onClick={() => explorer.likeThis(record)}>
          More like this
        </button>
        {viewer && (
          <a class="button" href={viewerAddress(viewer, record)} target="_blank" rel="noopener noreferrer">
            <LinkIcon /> Open in the viewer
          </a>
        )}
      </div>
      {hit?.why && <WhyFound why={hit.why} score={hit.score ?? null} match={hit.match ?? null} />}
      <h3>Evidence</h3>
      <EvidenceTable evidence={record.evidence ?? {}} />
      <h3>Record</h3>
      <dl class="fields">
        {TOLD.map((each) => (
          <div key={each}>
            <dt>{fieldText(each)}</dt>
            <dd>{known(record[each])}</dd>
          </div>
        ))}
        {record.flags.length > 0 && (
          <div>
            <dt>Flags</dt>
            <dd>{record.flags.map(spaced).join(", ")}</dd>
          </div>
        )}
      </dl>
      <Identifier name="Series Instance UID" value={record.seriesInstanceUid} />
      <Identifier name="Study Instance UID" value={record.studyInstanceUid} />
      <Trace of={record.seriesKey} />
    </div>
  );
}

const MATCHES: Record<string, string> = {
  fits: "Meets every condition.",
  possible: "May fit: something that is asked about is not known of it.",
  near: "Near: it does not meet every condition.",
};

function WhyFound({ why, score, match }: { why: Why; score: number | null; match: string | null }) {
  return (
    <div class="why">
      <h3>Why it was found</h3>
      <p>{MATCHES[match ?? ""] ?? ""}</p>
      <ul class="ticks">
        {why.filters.map((each) => <li key={each} class="yes">{conditionText(each)}</li>)}
        {(why.unknown ?? []).map((each) => <li key={each} class="maybe">{conditionText(each)}: not known</li>)}
        {(why.unmet ?? []).map((each) => <li key={each} class="no">{conditionText(each)}: it is not</li>)}
      </ul>
      {why.text && (
        <blockquote>
          {why.text}
          <footer>
            the text that came closest{why.template ? ` (template “${spaced(why.template)}”)` : ""}
            {why.similarity !== null ? `, similarity ${why.similarity.toFixed(2)}` : ""}
          </footer>
        </blockquote>
      )}
      {why.words && why.words.length > 0 && <p>Words in common: {why.words.join(", ")}</p>}
      {why.foundBy && why.foundBy.length > 0 && <p>Found by: {why.foundBy.join(" and ")}</p>}
      {score !== null && <p class="hint">Score {score.toFixed(3)}</p>}
    </div>
  );
}

/** A long keyword such as StudyDescription, which may go on in the next line. */
function breakable(keyword: string) {
  return keyword.split(/(?<=[a-z])(?=[A-Z])/).map((part, i) => <Fragment key={i}>{i > 0 && <wbr />}{part}</Fragment>);
}

function conditionText(text: string): string {
  const filter = parseFilter(text);
  return filter ? filterText(filter) : text;
}

function EvidenceTable({ evidence }: { evidence: Record<string, Evidence> }) {
  const rows = Object.entries(evidence).filter(([, each]) => known(each.value) !== "–");
  if (!rows.length) return <p class="hint">Nothing could be told from header or pixels.</p>;
  return (
    <table class="plain evidence">
      <thead>
        <tr><th scope="col">What</th><th scope="col">Value</th><th scope="col">From</th><th scope="col">Sure</th></tr>
      </thead>
      <tbody>
        {rows.map(([field, each]) => (
          <tr key={field}>
            <th scope="row">{fieldText(field)}</th>
            <td>{known(each.value)}</td>
            <td>{breakable(each.source)}{each.from === "model" ? " (model)" : ""}</td>
            <td>{Math.round(100 * each.confidence)} %</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Identifier({ name, value }: { name: string; value: string }) {
  const explorer = useExplorer();
  const copy = (): void => {
    navigator.clipboard.writeText(value).then(
      () => { explorer.said.value = `${name} copied`; },
      () => { explorer.said.value = "the browser does not allow copying: select the text"; },
    );
  };
  return (
    <div class="identifier">
      <span class="identifier-name">{name}</span>
      <code>{value}</code>
      <button type="button" class="button bare icon-only" aria-label={`Copy the ${name}`} onClick={copy}><CopyIcon /></button>
    </div>
  );
}

function Trace({ of }: { of: string }) {
  const explorer = useExplorer();
  const [stages, show] = useState<Record<string, unknown>[] | null>(null);
  const open = (event: Event): void => {
    if (!(event.currentTarget as HTMLDetailsElement).open || stages) return;
    explorer.api.trace(of).then(show, (error: unknown) => explorer.fail(error));
  };
  return (
    <details class="trace" onToggle={open}>
      <summary>What it has passed, from its files to its row</summary>
      {stages === null ? <p class="hint">Asking …</p> : stages.map((each, i) => (
        <dl class="fields" key={i}>
          {Object.entries(flat(each)).map(([name, value]) => (
            <div key={name}><dt>{spaced(name)}</dt><dd>{known(value)}</dd></div>
          ))}
        </dl>
      ))}
    </details>
  );
}

/** Nested objects as one level: `index.searchable`. */
function flat(value: Record<string, unknown>, before = ""): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const [name, each] of Object.entries(value)) {
    const full = before ? `${before}, ${name}` : name;
    if (each && typeof each === "object" && !Array.isArray(each)) {
      Object.assign(found, flat(each as Record<string, unknown>, full));
    } else found[full] = each;
  }
  return found;
}
