import type { File } from "../api/client";

/** Hand a file to the reader, as a download. */
export function saveFile(file: File): void {
  const address = URL.createObjectURL(file.data);
  const link = document.createElement("a");
  link.href = address;
  link.download = file.name;
  link.click();
  // Some browsers begin to read only after this turn.
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
