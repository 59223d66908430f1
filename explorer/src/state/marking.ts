/**
 * Which points stand out: what was found, what was circled, what came lately.
 *
 * Kept by their short keys and found anew whenever the points change, for slots are given to others
 * when their points have gone.
 */
import { computed, type ReadonlySignal, signal } from "@preact/signals";
import type { Atlas } from "./atlas";

/** What came after a manifest: asked for, told, not to be told, or gone wrong. */
export type Since = "none" | "asking" | "told" | "unknown" | "failed";

export class Marking {
  readonly litKeys = signal<Uint8Array | null>(null);
  readonly circledKeys = signal<Uint8Array | null>(null);
  readonly freshKeys = signal<Uint8Array | null>(null);
  readonly since = signal<Since>("none");
  readonly lit: ReadonlySignal<Int32Array | null>;
  readonly circled: ReadonlySignal<Int32Array | null>;
  readonly fresh: ReadonlySignal<Int32Array | null>;

  constructor(private readonly atlas: Atlas) {
    this.lit = this.located(this.litKeys);
    this.circled = this.located(this.circledKeys);
    this.fresh = this.located(this.freshKeys);
  }

  private located(keys: ReadonlySignal<Uint8Array | null>): ReadonlySignal<Int32Array | null> {
    return computed(() => {
      void this.atlas.revision.value;
      return keys.value && this.atlas.points.locate(keys.value);
    });
  }
}

/** Short keys, 16 hexadecimal digits each, as eight bytes each; longer keys are cut. */
export function bytesOf(keys: readonly string[]): Uint8Array {
  const bytes = new Uint8Array(8 * keys.length);
  keys.forEach((key, i) => {
    for (let at = 0; at < 8; at++) bytes[8 * i + at] = Number.parseInt(key.slice(2 * at, 2 * at + 2), 16);
  });
  return bytes;
}

/** The other way round. */
export function keysOf(bytes: Uint8Array): string[] {
  const keys: string[] = [];
  for (let i = 0; i < bytes.length; i += 8) {
    keys.push(Array.from(bytes.subarray(i, i + 8), (byte) => byte.toString(16).padStart(2, "0")).join(""));
  }
  return keys;
}
