/** The map: its tools, what is under the pointer, and what it says when there is nothing to draw. */
import { computed, effect } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { MapView } from "../map";
import { saveFile } from "./files";
import { useExplorer } from "./context";
import { HoverCard, type Hovered } from "./HoverCard";
import { FitIcon, HandIcon, LassoIcon, MinusIcon, PictureIcon, PlusIcon } from "./icons";
import { Legend } from "./Legend";
import { countText } from "../state/explorer";

const MOVE_MS = 1_200;
const VIEW_MS = 300;
const STEP = 1.5;

export function MapPanel() {
  const explorer = useExplorer();
  const host = useRef<HTMLDivElement>(null);
  const map = useRef<MapView | null>(null);
  const [mode, setMode] = useState<"pan" | "lasso">("pan");
  const [hovered, hover] = useState<Hovered | null>(null);

  useEffect(() => {
    if (!host.current) return;
    let waiting = 0;
    const seenAt = computed(() => JSON.stringify(explorer.place.value.view));
    let told = "null";
    const view = new MapView(host.current, {
      onHover: (point, at) => hover(point === null ? null : { point, at }),
      onPick: (point) => explorer.pick(point),
      onLasso: (points, additive) => {
        explorer.circle(points, additive);
        setMode("pan");
      },
      onView: (seen) => {
        hover(null);
        window.clearTimeout(waiting);
        // A link to the whole map shows all of it in any window.
        waiting = window.setTimeout(() => {
          const next = view.isFitted ? null : seen;
          told = JSON.stringify(next);
          explorer.go({ view: next }, true);
        }, VIEW_MS);
      },
      onMode: setMode,
    });
    map.current = view;
    const stops = [
      effect(() => {
        view.theme(coloursOf(explorer.theme.value));
      }),
      effect(() => {
        void explorer.atlas.revision.value;
        view.setPoints(explorer.atlas.points);
      }),
      effect(() => {
        // A link, or the way back, leads to another part of the map; our own moves are there already.
        const asked = seenAt.value;
        if (asked === told) return;
        told = asked;
        const { view: next } = explorer.place.peek();
        if (next) view.view = next;
        else view.fit();
      }),
      effect(() => {
        const colours = explorer.colours.value;
        if (colours) view.setColours(colours.codes, colours.palette);
      }),
      effect(() => {
        view.setEmphasis(explorer.marks.value);
      }),
      effect(() => {
        const moved = explorer.moved.value;
        if (moved) void view.animateFrom(moved.x, moved.y, MOVE_MS);
      }),
    ];
    return () => {
      window.clearTimeout(waiting);
      for (const each of stops) each();
      view.destroy();
      map.current = null;
    };
  }, []);

  useEffect(() => {
    if (map.current) map.current.mode = mode;
  }, [mode]);

  const lit = explorer.marking.lit.value;
  const fit = (): void => {
    const shown = lit?.filter((each) => each >= 0);
    map.current?.fit(shown?.length ? shown : undefined);
  };
  return (
    <section class="panel map-panel" aria-label="Map">
      <div class="map-tools" role="toolbar" aria-label="Tools of the map">
        <button type="button" class="button icon-only" aria-pressed={mode === "pan"} aria-label="Move the map" title="Move the map" onClick={() => setMode("pan")}>
          <HandIcon />
        </button>
        <button type="button" class="button icon-only" aria-pressed={mode === "lasso"} aria-label="Circle series" title="Circle series (Shift: more of them)" onClick={() => setMode("lasso")}>
          <LassoIcon />
        </button>
        <span class="gap" />
        <button type="button" class="button icon-only" aria-label="Closer" title="Closer" onClick={() => map.current?.zoom(STEP)}><PlusIcon /></button>
        <button type="button" class="button icon-only" aria-label="Further away" title="Further away" onClick={() => map.current?.zoom(1 / STEP)}><MinusIcon /></button>
        <button type="button" class="button icon-only" aria-label="Show all that is lit" title="Show all that is lit" onClick={fit}><FitIcon /></button>
        <button
          type="button"
          class="button icon-only"
          aria-label="Save a picture of the map"
          title="Save a picture of the map"
          onClick={() => void map.current?.png().then((data) => saveFile({ name: "map.png", data }))}
        >
          <PictureIcon />
        </button>
      </div>
      <div
        ref={host}
        class={`map-host ${mode}`}
        tabIndex={0}
        role="application"
        aria-label="Map of series: arrows move it, plus and minus zoom, 0 shows all. The table lists the same series."
      />
      <MapState />
      <Legend />
      {hovered && <HoverCard hovered={hovered} />}
    </section>
  );
}

function MapState() {
  const explorer = useExplorer();
  const state = explorer.atlas.state.value;
  const head = explorer.atlas.head.value;
  if (state.kind === "loading" && !explorer.atlas.points.count) {
    return <div class="map-message"><span class="spinner" /> Loading the map …</div>;
  }
  if (state.kind === "failed") {
    if (state.problem.code === "notFound") return <Nothing />;
    return <div class="map-message" role="alert">The map cannot be had: {state.problem.message}</div>;
  }
  if (head && head.total === 0) {
    return (
      <div class="map-message">
        <b>No series has a place yet.</b>
        <span>Series with pixels get one when they are indexed; <code>dicom-indexer map fit</code> makes a map of them.</span>
      </div>
    );
  }
  if (!head) return null;
  const unplaced = head.unplaced ? `, ${countText(head.unplaced)} without pixels only in the list` : "";
  // Before the first fit an untaught encoder places them, as versions 0.x.
  const isFitted = head.projection !== null && !head.projection.startsWith("0.");
  return (
    <p class="map-count">
      {countText(head.total)} on {isFitted ? `map ${head.projection}` : "a map that was never fitted"}
      {unplaced}
      {!isFitted && <><br />Places mean little before <code>dicom-indexer map fit</code></>}
    </p>
  );
}

function Nothing() {
  return (
    <div class="map-message">
      <b>Nothing is indexed yet.</b>
      <span>
        <code>dicom-indexer index FOLDER</code> or an upload to the inbox brings the first series; this page shows
        them as they come.
      </span>
    </div>
  );
}

function coloursOf(theme: "light" | "dark"): { background: string; ring: string; lasso: string } {
  return theme === "dark"
    ? { background: "#10161d", ring: "#ffffff", lasso: "#35c2b4" }
    : { background: "#fbfcfd", ring: "#10202c", lasso: "#00796b" };
}
