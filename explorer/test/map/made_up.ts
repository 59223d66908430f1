/** Files of points for tests, and numbers that are the same in every run. */

/** Numbers from 0 to 1, exclusive; mulberry32. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface Section {
  name: string;
  data: Uint8Array | Uint16Array | Float32Array;
}

/** A container as the API writes it. */
export function container(header: Record<string, unknown>, sections: Section[]): ArrayBuffer {
  const described = sections.map(({ name, data }) => ({
    name,
    type: data instanceof Uint8Array ? "uint8" : data instanceof Uint16Array ? "uint16" : "float32",
    length: data.length,
  }));
  const json = JSON.stringify({ ...header, sections: described });
  const { length } = new TextEncoder().encode(json);
  const text = new TextEncoder().encode(json + " ".repeat(-length & 7));
  const parts: Uint8Array[] = [new TextEncoder().encode("DXP1"), new Uint8Array(Uint32Array.of(text.length).buffer), text];
  for (const { data } of sections) {
    parts.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), new Uint8Array(-data.byteLength & 7));
  }
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole.buffer;
}

/** One series on the map. */
export interface Row {
  key: string;
  x: number;
  y: number;
  flags: number;
  modality: string | null;
}

export function keyBytes(keys: string[]): Uint8Array {
  return Uint8Array.from(keys.flatMap((key) => [0, 2, 4, 6, 8, 10, 12, 14].map((at) => Number.parseInt(key.slice(at, at + 2), 16))));
}

/** A file of rows; the values of the column come in the order of the rows. */
export function fileOf(
  rows: Row[],
  about: { manifest: number; since?: number | null; removed?: string[]; total?: number },
): ArrayBuffer {
  const values = [...new Set(rows.flatMap(({ modality }) => modality ?? []))];
  const since = about.since ?? null;
  const sections: Section[] = [
    { name: "ids", data: keyBytes(rows.map(({ key }) => key)) },
    { name: "x", data: Float32Array.from(rows, ({ x }) => x) },
    { name: "y", data: Float32Array.from(rows, ({ y }) => y) },
    { name: "flags", data: Uint8Array.from(rows, ({ flags }) => flags) },
    {
      name: "column:modality",
      data: Uint16Array.from(rows, ({ modality }) => (modality === null ? 65535 : values.indexOf(modality))),
    },
  ];
  if (since !== null) {
    sections.push({ name: "removed", data: keyBytes(about.removed ?? []) });
  }
  const header = {
    manifest: about.manifest,
    since,
    projectionVersion: "map-1",
    count: rows.length,
    total: about.total ?? rows.length,
    unplaced: 2,
    columns: { modality: values },
  };
  return container(header, sections);
}

const MODALITIES = ["CT", "MR", "US", "DX", null];

/** A row that is another one for every draw. */
export function madeUpRow(random: () => number): Row {
  const digits = () => Math.floor(random() * 2 ** 32).toString(16).padStart(8, "0");
  return {
    key: digits() + digits(),
    x: Math.fround(random() * 20 - 10),
    y: Math.fround(random() * 20 - 10),
    flags: Math.floor(random() * 4),
    modality: MODALITIES[Math.floor(random() * MODALITIES.length)] ?? null,
  };
}

/** What a set holds, by short key. */
export function rowsBy(points: {
  size: number;
  alive: Uint8Array;
  x: Float32Array;
  y: Float32Array;
  flags: Uint8Array;
  shortKey(slot: number): string;
  column(name: string): { codes: Uint16Array; values: string[] };
}): Map<string, Row> {
  const { codes, values } = points.column("modality");
  const rows = new Map<string, Row>();
  for (let slot = 0; slot < points.size; slot++) {
    if (points.alive[slot] === 1) {
      const key = points.shortKey(slot);
      const modality = values[codes[slot]!] ?? null;
      rows.set(key, { key, x: points.x[slot]!, y: points.y[slot]!, flags: points.flags[slot]!, modality });
    }
  }
  return rows;
}
