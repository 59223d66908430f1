/** How the series of a cohort spread over sex, age, manufacturer, modality and region. */
import type { BalanceCell, Cohort } from "../api/types";
import { fieldText, numberText } from "./words";

const MOST = 8;

export function Balance({ card }: { card: Cohort["card"] }) {
  return (
    <>
      <p>
        {numberText(card.series)} series, {numberText(card.studies)} studies, {numberText(card.patients)} patients
      </p>
      <div class="balance">
        {Object.entries(card.fields).map(([field, cells]) => <Chart key={field} field={field} cells={cells} />)}
      </div>
    </>
  );
}

function Chart({ field, cells }: { field: string; cells: readonly BalanceCell[] }) {
  if (!cells.length) return null;
  const shown = cells.slice(0, MOST);
  const most = Math.max(1, ...shown.map((each) => each.series ?? 0));
  return (
    <table class="chart">
      <caption>{fieldText(field)}</caption>
      <thead class="visually-hidden">
        <tr><th scope="col">Value</th><th scope="col">Series</th><th scope="col">Patients</th></tr>
      </thead>
      <tbody>
        {shown.map((each) => (
          <tr key={each.value} class={each.value === "unknown" ? "faint" : ""}>
            <th scope="row">{each.value}</th>
            <td class="chart-bar">
              <span class="bar" aria-hidden="true"><span style={{ width: `${(100 * (each.series ?? 0)) / most}%` }} /></span>
              <span>{numberText(each.series)}</span>
            </td>
            <td class="hint">{each.patients === null ? "few patients" : `${numberText(each.patients)} ${each.patients === 1 ? "patient" : "patients"}`}</td>
          </tr>
        ))}
        {cells.length > shown.length && <tr><td colSpan={3} class="hint">and {cells.length - shown.length} more</td></tr>}
      </tbody>
    </table>
  );
}
