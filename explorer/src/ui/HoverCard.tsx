/** What is known of the point under the pointer, without asking for its record. */
import { DISAGREES, PROVISIONAL, UNKNOWN } from "../map";
import { BASIC_COLUMNS } from "../state/atlas";
import { useExplorer } from "./context";
import { Thumbnail } from "./Thumbnail";
import { fieldText, known } from "./words";

const WIDTH = 250;
const HEIGHT = 150;
const AFTER_MS = 150;

export interface Hovered {
  point: number;
  at: { x: number; y: number };
}

export function HoverCard({ hovered }: { hovered: Hovered }) {
  const explorer = useExplorer();
  const { points } = explorer.atlas;
  const { point, at } = hovered;
  if (point >= points.size) return null;
  const key = points.shortKey(point);
  const { colour } = explorer.place.value;
  const hit = explorer.results.ready?.hits.find((each) => each.seriesKey.startsWith(key));
  const flags = points.flags[point] ?? 0;
  const value = (name: string): string => {
    const column = explorer.atlas.column(name);
    return known(column?.values[column.codes[point] ?? UNKNOWN]);
  };
  const fields = [...new Set([colour, ...BASIC_COLUMNS])].filter((each) => explorer.atlas.column(each));
  const host = document.querySelector<HTMLElement>(".map-host");
  const x = at.x + (host?.offsetLeft ?? 0);
  const isRight = at.x + WIDTH + 24 > (host?.clientWidth ?? Infinity);
  const isLow = at.y + HEIGHT + 24 > (host?.clientHeight ?? Infinity);
  const left = isRight ? x - WIDTH - 12 : x + 14;
  const top = isLow ? at.y - HEIGHT - 8 : at.y + 14;
  return (
    <div class="hover-card" style={{ left: `${Math.max(4, left)}px`, top: `${Math.max(4, top)}px` }} aria-hidden="true">
      <Thumbnail key={key} of={key} name={value("modality")} size="small" after={AFTER_MS} />
      <div>
        {hit && hit.descriptions.length > 0 && <p class="hover-title">{hit.descriptions.join("; ")}</p>}
        <dl>
          {fields.map((each) => value(each) !== "–" && (
            <div key={each}>
              <dt>{fieldText(each)}</dt>
              <dd>{value(each)}</dd>
            </div>
          ))}
        </dl>
        {(flags & PROVISIONAL) !== 0 && <span class="badge">provisional place</span>}
        {(flags & DISAGREES) !== 0 && <span class="badge warn">header and pixels disagree</span>}
      </div>
    </div>
  );
}
