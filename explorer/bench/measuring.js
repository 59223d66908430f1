// What the pages of both renderers share: the file, the colours, the pans, and the clock.

export const PALETTE = [
  ...["#2563eb", "#d97706", "#059669", "#db2777", "#7c3aed"],
  ...["#0891b2", "#e11d48", "#65a30d", "#92400e", "#8b95a5"],
];

/** The file's bytes, and when they were asked for. */
export async function fetched(file) {
  const began = performance.now();
  const answer = await fetch(file);
  return { began, buffer: await answer.arrayBuffer() };
}

/** Milliseconds of each pan, from asking for it until its pixels are there. */
export async function panned(n, pan) {
  const times_ms = [];
  for (let step = 0; step < n; step++) {
    const began = performance.now();
    // A walk around the middle, so that about as many points are in view all the time.
    await pan(0.08 * Math.cos(step), 0.08 * Math.sin(step));
    times_ms.push(performance.now() - began);
  }
  return times_ms;
}

/** Waits for the graphics card, or for the processor that stands in for it. */
export function finish(gl) {
  gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
}

export const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
