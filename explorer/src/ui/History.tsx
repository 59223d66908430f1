/** The states of the index that are kept: to look back, and to mark what has come since. */
import { useEffect } from "preact/hooks";
import type { ManifestEntry } from "../api/types";
import { useExplorer } from "./context";
import { Dialog } from "./Dialog";
import { spaced, timeText } from "./words";

export function History({ onClose }: { onClose: () => void }) {
  const explorer = useExplorer();
  const { at, since } = explorer.place.value;
  const entries = explorer.history.value;
  useEffect(() => void explorer.lookBack(), []);
  const seen = explorer.lastSeen;
  return (
    <Dialog title="States of the index" onClose={onClose}>
      <p class="hint">
        Each change of the index is a manifest. Looking at a past one shows the series as they were; what is
        deleted or erased now is not shown in any.
      </p>
      <div class="row-of-buttons">
        <button
          type="button"
          class="button"
          disabled={at === null}
          onClick={() => { explorer.go({ at: null }); onClose(); }}
        >
          Follow the newest
        </button>
        <button
          type="button"
          class="button"
          disabled={since === null}
          onClick={() => { explorer.go({ since: null }); onClose(); }}
        >
          Mark nothing as new
        </button>
        {seen !== null && (
          <button
            type="button"
            class="button"
            onClick={() => { explorer.go({ since: seen }); onClose(); }}
          >
            Mark what came since my last visit (manifest {seen})
          </button>
        )}
      </div>
      {entries === null ? (
        <p class="hint">Asking for the manifests …</p>
      ) : (
        <div class="scrolling" tabIndex={0} role="region" aria-label="Manifests">
          <table class="plain">
            <thead>
              <tr>
                <th scope="col">Manifest</th>
                <th scope="col">Made</th>
                <th scope="col">What</th>
                <th scope="col">Map</th>
                <th scope="col"><span class="visually-hidden">Actions</span></th>
              </tr>
            </thead>
            <tbody>
              {entries.map((each) => (
                <tr key={each.manifest} aria-current={each.manifest === at ? "true" : undefined}>
                  <th scope="row">{each.manifest}</th>
                  <td>{timeText(each.created)}</td>
                  <td>{whatText(each)}</td>
                  <td>{each.projectionVersion ?? "–"}</td>
                  <td>
                    <div class="row-of-buttons">
                    <button
                      type="button"
                      class="button small"
                      onClick={() => { explorer.go({ at: each.manifest }); onClose(); }}
                    >
                      Look at it<span class="visually-hidden"> manifest {each.manifest}</span>
                    </button>
                    <button
                      type="button"
                      class="button small"
                      onClick={() => { explorer.go({ since: each.manifest }); onClose(); }}
                    >
                      New since<span class="visually-hidden"> manifest {each.manifest}</span>
                    </button>
                    </div>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Dialog>
  );
}

function whatText(entry: ManifestEntry): string {
  const counts = Object.entries(entry.counts ?? {})
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${count.toLocaleString("en")} ${spaced(name)}`);
  const pins = entry.pins.length ? `, kept as ${entry.pins.join(", ")}` : "";
  return `${spaced(entry.reason)}${counts.length ? `: ${counts.join(", ")}` : ""}${pins}`;
}
