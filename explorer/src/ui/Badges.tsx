import type { SeriesRecord } from "../api/types";
import { disagreements, isProvisional, spaced } from "./words";

/** What should be known before one relies on a record. */
export function Badges({ record }: { record: SeriesRecord }) {
  return (
    <>
      {isProvisional(record) && (
        <span class="badge" title="The map has not seen its kind: it lies among its nearest neighbours">provisional place</span>
      )}
      {disagreements(record).map((each) => (
        <span key={each} class="badge warn" title="The header says one thing, other evidence another: see Evidence">
          {spaced(each)}
        </span>
      ))}
    </>
  );
}
