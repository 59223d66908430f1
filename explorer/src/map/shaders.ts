/** Programs of the WebGL2 renderer; what a point looks like is said in look.ts, and in raster.ts once more. */

export const VERTEX = `#version 300 es
precision highp float;
layout(location = 0) in float placeX;
layout(location = 1) in float placeY;
layout(location = 2) in float fromX;
layout(location = 3) in float fromY;
layout(location = 4) in vec3 colour;
layout(location = 5) in uint style;
uniform vec2 centre;     // of the view, in map units
uniform vec2 zoom;       // clip units per map unit
uniform float stay;      // 1: all points are where they came from, 0: they have come
uniform int instead;     // a look for all points, or -1: each has its own
uniform vec4 radii[6];   // by look, in pixels: disc, gap, accent, halo
uniform vec4 rest[6];    // hole, pale, opacity, farthest radius
uniform vec3 background;
flat out vec3 own;
flat out vec4 reach;
flat out float opacity;
flat out float hole;
flat out float sprite;

void main() {
  int look = instead >= 0 ? instead : min(int(style & 7u), 4);
  vec4 more = rest[look];
  vec2 place = mix(vec2(placeX, placeY), vec2(fromX, fromY), stay);
  gl_Position = vec4((place - centre) * zoom, 0.0, 1.0);
  own = mix(colour, background, more.y);
  reach = radii[look];
  hole = (style & 8u) != 0u ? more.x : 0.0;
  opacity = more.z;
  sprite = 2.0 * more.w + 1.0; // a disc's soft edge reaches half a pixel beyond it
  gl_PointSize = sprite;
}
`;

export const FRAGMENT = `#version 300 es
precision highp float;
flat in vec3 own;
flat in vec4 reach;
flat in float opacity;
flat in float hole;
flat in float sprite;
uniform vec3 background;
uniform vec3 accent;
uniform float halo;
out vec4 painted;

float covered(float radius, float away) {
  return radius > 0.0 ? clamp(radius - away + 0.5, 0.0, 1.0) : 0.0;
}

vec4 lay(vec4 below, vec3 colour, float cover) {
  return below * (1.0 - cover) + vec4(colour, 1.0) * cover;
}

void main() {
  float away = length(gl_PointCoord - 0.5) * sprite;
  vec4 sum = vec4(0.0);
  // Most points have none of these, and a processor that draws them gains by leaving them out.
  if (reach.w > 0.0) {
    sum = vec4(own, 1.0) * (covered(reach.w, away) * halo);
  }
  if (reach.z > 0.0) {
    sum = lay(sum, accent, covered(reach.z, away));
  }
  if (reach.y > 0.0) {
    sum = lay(sum, background, covered(reach.y, away));
  }
  sum = lay(sum, own, covered(reach.x, away) * opacity);
  if (hole > 0.0) {
    sum = lay(sum, background, covered(hole, away) * opacity);
  }
  painted = sum;
}
`;
