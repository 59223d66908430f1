/** What has happened: news of the index, a past state, a server that is gone, a token that is asked for. */
import { useState } from "preact/hooks";
import type { Since } from "../state/marking";
import { useExplorer } from "./context";
import { Dialog } from "./Dialog";
import { CloseIcon } from "./icons";
import { timeText } from "./words";

export function Notices() {
  const explorer = useExplorer();
  const place = explorer.place.value;
  const notice = explorer.notice.value;
  const problem = explorer.problem.value;
  const made = explorer.history.value?.find((each) => each.manifest === place.at)?.created;
  const fresh = explorer.marking.freshKeys.value;
  return (
    <div class="notices">
      {explorer.isOffline.value && (
        <p class="strip bad" role="alert">The server cannot be reached. What is shown stays; it is asked again and again.</p>
      )}
      {place.at !== null && (
        <p class="strip past">
          <span>Looking at manifest {place.at}{made ? ` of ${timeText(made)}` : ""}. What has come since is not shown.</span>
          <button type="button" class="button small" onClick={() => explorer.go({ at: null })}>Back to the newest</button>
        </p>
      )}
      {place.since !== null && (
        <p class="strip">
          <span>{sinceText(explorer.marking.since.value, (fresh?.length ?? 0) / 8, place.since)}</span>
          <button type="button" class="button small" onClick={() => explorer.go({ since: null })}>Mark nothing</button>
        </p>
      )}
      {notice && (
        <p class="strip good">
          <span>{notice.text}</span>
          <button type="button" class="button bare icon-only" aria-label="Dismiss the news" onClick={() => explorer.dismiss()}><CloseIcon /></button>
        </p>
      )}
      {problem && (
        <p class="strip bad" role="alert">
          <span>{problem.message}</span>
          <button type="button" class="button bare icon-only" aria-label="Dismiss" onClick={() => { explorer.problem.value = null; }}><CloseIcon /></button>
        </p>
      )}
      {explorer.access.value === "declined" && (
        <p class="strip bad">
          <span>The server asks for a token: nothing new is shown without one.</span>
          <button type="button" class="button small" onClick={() => { explorer.access.value = "asked"; }}>Give a token</button>
        </p>
      )}
      {explorer.access.value === "asked" && <Token />}
    </div>
  );
}

function sinceText(since: Since, count: number, manifest: number): string {
  switch (since) {
    case "told":
      return `${count} marked: what came after manifest ${manifest}`;
    case "unknown":
      return `What came after manifest ${manifest} cannot be told: it is not kept, or the map was another one`;
    case "failed":
      return `What came after manifest ${manifest} could not be asked`;
    default:
      return `Asking what came after manifest ${manifest} …`;
  }
}

function Token() {
  const explorer = useExplorer();
  const [token, type] = useState("");
  return (
    <Dialog title="This server asks for a token" onClose={() => explorer.declineToken()}>
      <form class="form" onSubmit={(event) => { event.preventDefault(); explorer.signIn(token.trim()); }}>
        <p class="hint">The value of <code>DICOM_INDEXER_TOKEN</code>, or a function key. It stays in this tab.</p>
        {explorer.wasTried.value && <p class="error" role="alert">This token was not accepted.</p>}
        <label>
          Token
          <input type="password" required value={token} autocomplete="current-password" onInput={(event) => type(event.currentTarget.value)} />
        </label>
        <div class="row-of-buttons end"><button type="submit" class="button primary">Go on</button></div>
      </form>
    </Dialog>
  );
}
