/** The page: what is looked for above, conditions beside the map, series below it, one of them aside. */
import { useEffect } from "preact/hooks";
import type { Tab } from "../state/place";
import { Chips } from "./Chips";
import { CohortsPanel } from "./CohortsPanel";
import { useExplorer } from "./context";
import { Details } from "./Details";
import { Facets } from "./Facets";
import { Header } from "./Header";
import { FilterIcon, ListIcon, MapIcon, StackIcon } from "./icons";
import { MapPanel } from "./MapPanel";
import { Notices } from "./Notices";
import { Table } from "./Table";

const TABS: readonly { tab: Tab; name: string; icon: () => preact.JSX.Element }[] = [
  { tab: "map", name: "Map", icon: MapIcon },
  { tab: "list", name: "List", icon: ListIcon },
  { tab: "filters", name: "Filters", icon: FilterIcon },
  { tab: "cohorts", name: "Cohorts", icon: StackIcon },
];

export function App({ onTheme }: { onTheme: () => void }) {
  const explorer = useExplorer();
  const { tab, series } = explorer.place.value;
  useEffect(() => {
    const leave = (event: KeyboardEvent): void => {
      const target = event.target as HTMLElement | null;
      if (event.key !== "Escape" || target?.closest("dialog, input, .map-host")) return;
      if (explorer.place.value.series) explorer.go({ series: null });
    };
    document.addEventListener("keydown", leave);
    return () => document.removeEventListener("keydown", leave);
  }, []);
  const hasSide = series !== null || tab === "cohorts";
  return (
    <div class={`app tab-${tab}${hasSide ? " with-side" : ""}${series ? " with-series" : ""}`}>
      <button
        type="button"
        class="skip"
        onClick={() => {
          const row = document.querySelector<HTMLElement>(".results tr[tabindex='0']");
          (row ?? document.querySelector<HTMLElement>(".results button"))?.focus();
        }}
      >
        Skip to the series found
      </button>
      <Header onTheme={onTheme} />
      <div class="under-header">
        <Chips />
        <Corrections />
      </div>
      <Notices />
      <main class="main">
        <aside class="panel facets-panel" aria-label="Filters">
          <Facets />
        </aside>
        <div class="centre">
          <MapPanel />
          <Table />
        </div>
        {hasSide && (
          <div class="side">
            {series ? <Details /> : <CohortsPanel />}
          </div>
        )}
      </main>
      <nav class="tabs" aria-label="Parts of the page">
        {TABS.map((each) => (
          <button key={each.tab} type="button" aria-pressed={tab === each.tab} onClick={() => explorer.go({ tab: each.tab, series: null })}>
            <each.icon />
            {each.name}
          </button>
        ))}
      </nav>
      <footer class="footer">
        Research software, not for diagnosis. Headers are patient data.
        {explorer.settings.value ? ` dicom-indexer ${explorer.settings.value.version}` : ""}
      </footer>
      <div class="visually-hidden" role="status" aria-live="polite">{explorer.said.value}</div>
    </div>
  );
}

function Corrections() {
  const explorer = useExplorer();
  const said = explorer.results.ready?.interpretation;
  const ready = explorer.results.ready;
  if (!said) return null;
  const fixed = said.corrections ?? [];
  const weak = ready?.fit === "weak" || ready?.fit === "none";
  if (!fixed.length && !weak) return null;
  return (
    <p class="hint corrections">
      {fixed.map((each) => `“${each.from}” was read as “${each.to}”`).join("; ")}
      {fixed.length > 0 && weak ? ". " : ""}
      {weak && "Nothing fits these words well: what follows is the nearest."}
    </p>
  );
}
