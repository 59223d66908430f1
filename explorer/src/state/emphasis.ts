/** How strongly each point is drawn: what was asked for stands out, the rest steps back. */

export const DIMMED = 0;
export const PLAIN = 1;
export const LIT = 2;
export const SELECTED = 3;
export const NEW = 4;

export interface Marks {
  /** Slots that a question found; null: nothing is asked, all are equal. */
  readonly lit: Int32Array | null;
  /** Slots that were circled. */
  readonly circled: Int32Array | null;
  /** Slots that came lately. */
  readonly fresh: Int32Array | null;
  /** The slot that is told of; -1: none. */
  readonly chosen: number;
}

/** The emphasis of every slot. Negative slots, of series without a place, are passed over. */
export function emphasis(size: number, marks: Marks): Uint8Array {
  const asked = marks.lit ?? marks.circled;
  const state = new Uint8Array(size).fill(asked ? DIMMED : PLAIN);
  mark(state, marks.lit, LIT);
  mark(state, marks.circled, marks.lit ? null : LIT);
  mark(state, marks.fresh, NEW);
  if (marks.chosen >= 0 && marks.chosen < size) state[marks.chosen] = SELECTED;
  return state;
}

function mark(state: Uint8Array, slots: Int32Array | null, as: number | null): void {
  if (!slots || as === null) return;
  for (const slot of slots) if (slot >= 0 && slot < state.length) state[slot] = as;
}
