/** The map: what the page may use of this folder. */

export { boundsOfAll, type Spot, type View } from "./camera.ts";
export {
  type Column,
  decodeMatches,
  DISAGREES,
  KEY_BYTES,
  type MatchesFile,
  type PointsFile,
  PointsFileError,
  PROVISIONAL,
  UNKNOWN,
} from "./file.ts";
export type { Mode } from "./gestures.ts";
export { Emphasis } from "./look.ts";
export { type Delta, PointSet } from "./points.ts";
export type { Theme } from "./theme.ts";
export { type MapEvents, type MapOptions, MapView } from "./view.ts";
