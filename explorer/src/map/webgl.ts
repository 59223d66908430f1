/** The renderer for machines with WebGL2: all points in one call, one sprite each. */

import { HALO, ONCE_MORE } from "./look.ts";
import type { Order, Rgb } from "./paint.ts";
import type { Frame, Motion, Renderer } from "./renderer.ts";
import { FRAGMENT, VERTEX } from "./shaders.ts";

const PLACE_X = 0;
const PLACE_Y = 1;
const FROM_X = 2;
const FROM_Y = 3;
const COLOUR = 4;
const STYLE = 5;

/** What lies on the graphics card; all of it is gone when the context is lost. */
interface Held {
  program: WebGLProgram;
  buffers: Record<"x" | "y" | "fromX" | "fromY" | "paints" | "order", WebGLBuffer>;
  at: (name: string) => WebGLUniformLocation | null;
}

/**
 * Draws by WebGL2. When the context is lost nothing is drawn until the browser gives it back; then
 * everything is uploaded again and `restored` is called.
 */
export class WebGLRenderer implements Renderer {
  readonly canvas: HTMLCanvasElement;
  readonly #gl: WebGL2RenderingContext;
  readonly #off = new AbortController();
  #held: Held | null;
  #x: Float32Array = new Float32Array();
  #y: Float32Array = new Float32Array();
  #paints: Uint32Array = new Uint32Array();
  #order: Order = { slots: new Uint32Array(), selected: 0 };
  #from: Pick<Motion, "x" | "y"> | null = null;

  private constructor(canvas: HTMLCanvasElement, gl: WebGL2RenderingContext, held: Held) {
    this.canvas = canvas;
    this.#gl = gl;
    this.#held = held;
  }

  /**
   * A renderer, or null where WebGL2 is not to be had; without `slow` also where it is worked out
   * by the processor, since our own rasteriser is faster there.
   */
  static open({ slow, lost, restored }: { slow: boolean; lost: () => void; restored: () => void }): WebGLRenderer | null {
    const canvas = document.createElement("canvas");
    const gl = canvas.getContext("webgl2", {
      alpha: false,
      antialias: false, // sprites are smooth by themselves
      depth: false,
      stencil: false,
      failIfMajorPerformanceCaveat: !slow,
    });
    if (gl !== null && !slow && isSlow(gl)) {
      gl.getExtension("WEBGL_lose_context")?.loseContext();
      return null;
    }
    const held = gl === null ? null : hold(gl);
    if (gl === null || held === null) {
      return null;
    }
    const renderer = new WebGLRenderer(canvas, gl, held);
    const { signal } = renderer.#off;
    const onLost = (event: Event) => {
      event.preventDefault(); // else the browser never gives it back
      renderer.#held = null;
      lost();
    };
    const onRestored = () => {
      renderer.#held = hold(gl);
      renderer.#uploadAll();
      restored();
    };
    canvas.addEventListener("webglcontextlost", onLost, { signal });
    canvas.addEventListener("webglcontextrestored", onRestored, { signal });
    return renderer;
  }

  setPlaces(x: Float32Array, y: Float32Array, size: number): void {
    this.#x = x.subarray(0, size);
    this.#y = y.subarray(0, size);
    this.#upload("x", this.#x);
    this.#upload("y", this.#y);
  }

  setPaints(paints: Uint32Array): void {
    this.#paints = paints;
    this.#upload("paints", paints);
  }

  setOrder(order: Order): void {
    this.#order = order;
    this.#upload("order", order.slots);
  }

  draw(frame: Frame): void {
    const { canvas } = this;
    if (canvas.width !== frame.width || canvas.height !== frame.height) {
      canvas.width = frame.width;
      canvas.height = frame.height;
    }
    const held = this.#held;
    if (held === null) {
      return;
    }
    this.#move(frame.motion);
    const gl = this.#gl;
    gl.viewport(0, 0, frame.width, frame.height);
    gl.clearColor(...channels(frame.background), 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.useProgram(held.program);
    this.#setUniforms(frame, held);
    this.#setArrays(held, frame.motion !== null);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    const { slots, selected } = this.#order;
    gl.uniform1i(held.at("instead"), -1);
    gl.drawElements(gl.POINTS, slots.length, gl.UNSIGNED_INT, 0);
    gl.uniform1i(held.at("instead"), ONCE_MORE);
    gl.drawElements(gl.POINTS, selected, gl.UNSIGNED_INT, 4 * (slots.length - selected));
  }

  destroy(): void {
    this.#off.abort();
    this.#gl.getExtension("WEBGL_lose_context")?.loseContext(); // browsers allow only a few contexts
    this.#held = null;
    this.canvas.remove();
  }

  /** Uploads places that points come from once per movement, and lets go of them afterwards. */
  #move(motion: Motion | null): void {
    if (motion?.x === this.#from?.x) {
      return;
    }
    this.#from = motion;
    this.#upload("fromX", motion?.x ?? new Float32Array());
    this.#upload("fromY", motion?.y ?? new Float32Array());
  }

  #setUniforms(frame: Frame, { at }: Held): void {
    const gl = this.#gl;
    const { view, ratio, looks } = frame;
    gl.uniform2f(at("centre"), view.x, view.y);
    const zoom = 2 * view.scale * ratio;
    gl.uniform2f(at("zoom"), zoom / frame.width, zoom / frame.height);
    gl.uniform1f(at("stay"), frame.motion === null ? 0 : 1 - frame.motion.come);
    gl.uniform3f(at("background"), ...channels(frame.background));
    gl.uniform3f(at("accent"), ...channels(frame.accent));
    gl.uniform1f(at("halo"), HALO);
    const radii = looks.flatMap(({ disc, gap, accent, halo }) => [disc, gap, accent, halo]);
    gl.uniform4fv(at("radii"), radii.map((radius) => radius * ratio));
    const rest = looks.flatMap((look) => [
      look.hole * ratio,
      look.pale,
      look.opacity,
      Math.max(look.disc, look.gap, look.accent, look.halo) * ratio,
    ]);
    gl.uniform4fv(at("rest"), rest);
  }

  #setArrays({ buffers }: Held, moving: boolean): void {
    const gl = this.#gl;
    const bind = (location: number, buffer: WebGLBuffer) => {
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.enableVertexAttribArray(location);
    };
    const places = [
      [PLACE_X, buffers.x],
      [PLACE_Y, buffers.y],
      ...(moving ? ([[FROM_X, buffers.fromX], [FROM_Y, buffers.fromY]] as const) : []),
    ] as const;
    gl.disableVertexAttribArray(FROM_X); // one value for all then, which no point is mixed with
    gl.disableVertexAttribArray(FROM_Y);
    for (const [location, buffer] of places) {
      bind(location, buffer);
      gl.vertexAttribPointer(location, 1, gl.FLOAT, false, 0, 0);
    }
    bind(COLOUR, buffers.paints);
    gl.vertexAttribPointer(COLOUR, 3, gl.UNSIGNED_BYTE, true, 4, 0);
    bind(STYLE, buffers.paints);
    gl.vertexAttribIPointer(STYLE, 1, gl.UNSIGNED_BYTE, 4, 3);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffers.order);
  }

  #uploadAll(): void {
    this.#upload("x", this.#x);
    this.#upload("y", this.#y);
    this.#upload("paints", this.#paints);
    this.#upload("order", this.#order.slots);
    this.#from = null;
  }

  #upload(name: keyof Held["buffers"], data: Float32Array | Uint32Array): void {
    if (this.#held !== null) {
      const gl = this.#gl;
      const target = name === "order" ? gl.ELEMENT_ARRAY_BUFFER : gl.ARRAY_BUFFER;
      gl.bindBuffer(target, this.#held.buffers[name]);
      gl.bufferData(target, data, gl.STATIC_DRAW);
    }
  }
}

/** Whether a processor draws, which browsers do not always own up to when asked for a fast context. */
function isSlow(gl: WebGL2RenderingContext): boolean {
  let name = String(gl.getParameter(gl.RENDERER));
  if (/^webkit/i.test(name)) {
    // Chromium and Safari name the card here only; Firefox warns of this extension and needs it not.
    const names = gl.getExtension("WEBGL_debug_renderer_info");
    name = names === null ? name : String(gl.getParameter(names.UNMASKED_RENDERER_WEBGL));
  }
  return /swiftshader|llvmpipe|softpipe|software|basic render/i.test(name);
}

/** Program and buffers; null where the context is lost already or will not take them. */
function hold(gl: WebGL2RenderingContext): Held | null {
  const program = gl.createProgram();
  for (const [type, source] of [
    [gl.VERTEX_SHADER, VERTEX],
    [gl.FRAGMENT_SHADER, FRAGMENT],
  ] as const) {
    const shader = gl.createShader(type);
    if (shader === null) {
      return null;
    }
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
    gl.deleteShader(shader);
  }
  gl.linkProgram(program);
  if (gl.getProgramParameter(program, gl.LINK_STATUS) !== true) {
    return null;
  }
  const buffer = () => gl.createBuffer();
  const locations = new Map<string, WebGLUniformLocation | null>();
  return {
    program,
    buffers: {
      x: buffer(),
      y: buffer(),
      fromX: buffer(),
      fromY: buffer(),
      paints: buffer(),
      order: buffer(),
    },
    at: (name) => {
      let location = locations.get(name);
      if (location === undefined) {
        location = gl.getUniformLocation(program, name);
        locations.set(name, location);
      }
      return location;
    },
  };
}

function channels(colour: Rgb): [number, number, number] {
  return [(colour & 0xff) / 255, ((colour >>> 8) & 0xff) / 255, ((colour >>> 16) & 0xff) / 255];
}
