/** Entry of the page: wires it, and draws it. */
import { render } from "preact";
import { Api } from "./api/client";
import { Explorer } from "./state/explorer";
import type { Theme } from "./state/colours";
import { App } from "./ui/App";
import { ExplorerContext } from "./ui/context";

const THEME = "dicom-indexer.theme";

function start(host: HTMLElement): void {
  const local = storageOf(() => window.localStorage);
  const explorer = new Explorer(new Api(storageOf(() => window.sessionStorage)), window, local);
  const wished = local?.getItem(THEME);
  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
  const use = (theme: Theme): void => {
    document.documentElement.dataset["theme"] = theme;
    explorer.theme.value = theme;
  };
  use(wished === "dark" || wished === "light" ? wished : prefersDark.matches ? "dark" : "light");
  prefersDark.addEventListener("change", (event) => {
    if (!local?.getItem(THEME)) use(event.matches ? "dark" : "light");
  });
  const change = (): void => {
    const next = explorer.theme.value === "dark" ? "light" : "dark";
    local?.setItem(THEME, next);
    use(next);
  };
  explorer.start();
  render(
    <ExplorerContext.Provider value={explorer}>
      <App onTheme={change} />
    </ExplorerContext.Provider>,
    host,
  );
}

/** Storage that the browser may refuse to give. */
function storageOf(get: () => Storage): Storage | null {
  try {
    return get();
  } catch {
    return null;
  }
}

const host = document.getElementById("app");
if (host) start(host);
