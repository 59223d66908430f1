/** The area of a freehand line: closed by itself, and whole where the line crosses itself. */

/** Corners as x, y, x, y, ...; the last is joined to the first. */
export type Polygon = ArrayLike<number>;

/**
 * Whether a place lies within: its winding number is not zero, as in SVG's `nonzero`. With
 * `evenodd` a line that overlaps its own beginning would cut a hole there.
 */
export function contains(polygon: Polygon, x: number, y: number): boolean {
  const n = polygon.length;
  let winding = 0;
  for (let i = 0, j = n - 2; i < n; j = i, i += 2) {
    const ay = polygon[j + 1]!;
    const by = polygon[i + 1]!;
    if (ay <= y ? by > y : by <= y) {
      const ax = polygon[j]!;
      const bx = polygon[i]!;
      const side = (bx - ax) * (y - ay) - (x - ax) * (by - ay);
      if (by > ay ? side > 0 : side < 0) {
        winding += by > ay ? 1 : -1;
      }
    }
  }
  return winding !== 0;
}
