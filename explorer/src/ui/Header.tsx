/** The top of the page: what is looked for, which state of the index is looked at. */
import { useEffect, useRef, useState } from "preact/hooks";
import { useExplorer } from "./context";
import { History } from "./History";
import { ClockIcon, CloseIcon, MoonIcon, SearchIcon, StackIcon, SunIcon } from "./icons";

export function Header({ onTheme }: { onTheme: () => void }) {
  const explorer = useExplorer();
  const { at, tab } = explorer.place.value;
  const head = explorer.atlas.head.value;
  const [isLookingBack, lookBack] = useState(false);
  const number = at ?? head?.manifest ?? null;
  return (
    <header class="header">
      <h1 class="brand">
        <img src="icon.svg" alt="" width="28" height="28" />
        <span>Cohort Explorer</span>
      </h1>
      <SearchBox />
      <div class="header-tools">
        <button
          type="button"
          class={at === null ? "button quiet" : "button past"}
          aria-haspopup="dialog"
          onClick={() => lookBack(true)}
          title="Which state of the index is looked at"
        >
          <ClockIcon />
          <span>
            <span class="wide-text">{number === null ? "No manifest" : "Manifest "}</span>
            {number}
          </span>
          <span class={at === null ? "pill live" : "pill"}>{at === null ? "live" : "past"}</span>
          <span class="visually-hidden">, look back</span>
        </button>
        <button
          type="button"
          class="button quiet wide-only"
          aria-pressed={tab === "cohorts"}
          onClick={() => explorer.go({ tab: tab === "cohorts" ? "map" : "cohorts", series: null })}
        >
          <StackIcon />
          <span>Cohorts</span>
        </button>
        <button
          type="button"
          class="button quiet icon-only"
          onClick={onTheme}
          aria-label={explorer.theme.value === "dark" ? "Use light colours" : "Use dark colours"}
        >
          {explorer.theme.value === "dark" ? <SunIcon /> : <MoonIcon />}
        </button>
      </div>
      {isLookingBack && <History onClose={() => lookBack(false)} />}
    </header>
  );
}

function SearchBox() {
  const explorer = useExplorer();
  const { text } = explorer.place.value;
  const [typed, type] = useState(text);
  const box = useRef<HTMLInputElement>(null);
  useEffect(() => type(text), [text]);
  useEffect(() => {
    const focus = (event: KeyboardEvent): void => {
      const target = event.target as HTMLElement | null;
      if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
      if (target?.closest("input, textarea, select, dialog")) return;
      event.preventDefault();
      box.current?.focus();
    };
    document.addEventListener("keydown", focus);
    return () => document.removeEventListener("keydown", focus);
  }, []);
  const search = (event: Event): void => {
    event.preventDefault();
    explorer.search(typed.trim());
  };
  return (
    <form class="search" role="search" onSubmit={search}>
      <SearchIcon />
      <input
        ref={box}
        type="text"
        name="q"
        value={typed}
        maxLength={2000}
        autocomplete="off"
        spellcheck={false}
        enterkeyhint="search"
        aria-label="Describe the series you look for"
        placeholder="axial T2 MRI of the brain without contrast, women over 60"
        onInput={(event) => type(event.currentTarget.value)}
      />
      {typed && (
        <button
          type="button"
          class="button bare icon-only"
          aria-label="Clear the search"
          onClick={() => {
            type("");
            explorer.search("");
            box.current?.focus();
          }}
        >
          <CloseIcon />
        </button>
      )}
      <button type="submit" class="button primary">Search</button>
    </form>
  );
}
