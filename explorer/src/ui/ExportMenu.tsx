/** All series of the answer as a file. */
import { useState } from "preact/hooks";
import type { File, FileFormat } from "../api/client";
import { useExplorer } from "./context";
import { Dialog } from "./Dialog";
import { saveFile } from "./files";
import { PictureIcon } from "./icons";

export const FORMATS: readonly { format: FileFormat; name: string; hint: string }[] = [
  { format: "csv", name: "CSV", hint: "for spreadsheets" },
  { format: "parquet", name: "Parquet", hint: "for pandas, polars, DuckDB" },
  { format: "ndjson", name: "NDJSON", hint: "one JSON record a line" },
  { format: "uids", name: "UID list", hint: "for download tools" },
  { format: "dicom-json", name: "DICOM JSON", hint: "as QIDO-RS answers" },
];

export function ExportMenu() {
  const explorer = useExplorer();
  const [isOpen, open] = useState(false);
  const ready = explorer.results.ready;
  return (
    <>
      <button type="button" class="button quiet" disabled={!explorer.results.canBeKept} aria-haspopup="dialog" onClick={() => open(true)}>
        <PictureIcon /> Export
      </button>
      {isOpen && ready && (
        <Dialog title={`Export ${ready.count === 1 ? "1 series" : `${ready.count.toLocaleString("en")} series`}`} onClose={() => open(false)}>
          {ready.count > 100_000 && <p class="hint">The first 100,000 of them; a saved cohort exports all.</p>}
          <Formats file={(format) => explorer.file(format)} />
          <p class="hint">Headers are patient data: the file holds what the table shows, and more.</p>
        </Dialog>
      )}
    </>
  );
}

export function Formats({ file }: { file: (format: FileFormat) => Promise<File> }) {
  const [busy, setBusy] = useState<FileFormat | null>(null);
  const [wrong, setWrong] = useState("");
  const save = async (format: FileFormat): Promise<void> => {
    setBusy(format);
    setWrong("");
    try {
      saveFile(await file(format));
    } catch (error) {
      setWrong(error instanceof Error ? error.message : "it went wrong");
    } finally {
      setBusy(null);
    }
  };
  return (
    <>
      <ul class="formats">
        {FORMATS.map((each) => (
          <li key={each.format}>
            <button type="button" class="button" disabled={busy !== null} onClick={() => void save(each.format)}>
              {busy === each.format ? "Making it …" : each.name}
            </button>
            <span class="hint">{each.hint}</span>
          </li>
        ))}
      </ul>
      {wrong && <p class="error" role="alert">This cannot be exported: {wrong}</p>}
    </>
  );
}
