import type { SeriesRecord } from "../api/types";

/** The address of a series in a DICOM viewer: a template with `{study}` and `{series}`. */
export function viewerAddress(template: string, record: SeriesRecord): string {
  return template
    .replaceAll("{study}", encodeURIComponent(record.studyInstanceUid))
    .replaceAll("{series}", encodeURIComponent(record.seriesInstanceUid));
}
