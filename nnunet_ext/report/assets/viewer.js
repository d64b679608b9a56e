// The viewer: draws the fragments by WebGL, turns, moves, zooms, takes them apart, and tells which one is pointed at.
const VERTEX = `
attribute vec3 place; attribute vec4 bend;
uniform mat4 project; uniform mat3 turn; uniform vec3 shift, middle; uniform float away; uniform vec2 grow;
varying vec3 normal, eye; varying float hollow;
void main() {
  vec3 p = turn * (place + shift - middle);
  normal = turn * bend.xyz; hollow = bend.w;
  p.z -= away; eye = -p;
  gl_Position = project * vec4(p, 1.0);
  gl_Position.xy += normalize(normal.xy + 1e-5) * grow * gl_Position.w;
}`;
const FRAGMENT = `
precision highp float;
uniform vec3 colour; uniform float lift, alpha, flat_; uniform vec2 range; uniform vec4 id;
varying vec3 normal, eye; varying float hollow;
void main() {
  if (flat_ > 1.5) {  // who is here, and how far away
    float d = clamp((eye.z - range.x) / (range.y - range.x), 0.0, 1.0) * 255.0;
    gl_FragColor = vec4(id.xy, floor(d) / 255.0, fract(d)); return;
  }
  if (flat_ > 0.5) { gl_FragColor = vec4(colour, 1.0) * alpha; return; }
  vec3 n = normalize(normal), v = normalize(eye);
  vec3 key = normalize(vec3(-0.42, 0.58, 0.70)), fill = normalize(vec3(0.75, 0.05, 0.45));
  float sky = 0.5 + 0.5 * n.y;
  float light = 0.20 + 0.24 * sky + 0.80 * max((dot(n, key) + 0.12) / 1.12, 0.0) + 0.22 * max(dot(n, fill), 0.0);
  light *= 1.0 - 0.85 * max(hollow, 0.0) + 0.35 * max(-hollow, 0.0);
  light *= mix(1.06, 0.72, clamp((eye.z - range.x) / (range.y - range.x), 0.0, 1.0));
  float gleam = pow(max(dot(n, normalize(key + v)), 0.0), 36.0) * 0.13;
  float rim = pow(1.0 - max(dot(n, v), 0.0), 3.0) * 0.16 * sky;
  vec3 linear = pow(colour, vec3(2.2)) * light + gleam + rim + lift;
  gl_FragColor = vec4(pow(min(linear, 1.0), vec3(1.0 / 2.2)), 1.0) * alpha;
}`;

const LENS = Math.tan(12 * Math.PI / 180);  // half of the angle of view; narrow, so that sizes can be compared
const APART = { bone: 0.55, piece: 0.75 };  // how far bones and their pieces move at full explosion, by their distances

async function startViewer(canvas) {
  const gl = canvas.getContext("webgl", { antialias: true, alpha: true, premultipliedAlpha: true });
  if (!gl || !gl.getExtension("OES_element_index_uint") || typeof DecompressionStream === "undefined") return null;
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) return null;
    gl.attachShader(program, shader);
  }
  gl.bindAttribLocation(program, 0, "place");
  gl.bindAttribLocation(program, 1, "bend");
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return null;
  gl.useProgram(program);
  const at = {};
  for (const name of ["project", "turn", "shift", "middle", "away", "grow", "colour", "lift", "alpha", "flat_", "range", "id"]) {
    at[name] = gl.getUniformLocation(program, name);
  }

  const meshes = unpackMeshes(await unpacked(data.meshes.data));
  const pieces = [];
  fragments.forEach((fragment, index) => {
    const mesh = fragment.mesh === null ? null : meshes[fragment.mesh];
    if (!mesh || !mesh.corners.length) return;
    const vertices = gl.createBuffer(), corners = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, vertices);
    gl.bufferData(gl.ARRAY_BUFFER, buffersOf(mesh), gl.STATIC_DRAW);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, corners);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, mesh.corners, gl.STATIC_DRAW);
    const extent = extentOf(mesh.points);
    const centre = extent.low.map((value, k) => (value + extent.high[k]) / 2);
    pieces.push({ index, fragment, vertices, corners, count: mesh.corners.length, extent, centre });
  });
  if (!pieces.length) return null;
  const directions = explosion(pieces);

  const low = [0, 1, 2].map((k) => Math.min(...pieces.map((p) => p.extent.low[k])));
  const high = [0, 1, 2].map((k) => Math.max(...pieces.map((p) => p.extent.high[k])));
  const middle = low.map((value, k) => (value + high[k]) / 2);
  const view = { up: 0, left: 0, zoom: 1, x: 0, y: 0, apart: 0 };
  let awaited = false, moving = 0;

  function turnOf(up, left) {  // LPS to right, up, towards the viewer
    const [e, a] = [up * Math.PI / 180, left * Math.PI / 180];
    const towards = [Math.sin(a) * Math.cos(e), -Math.cos(a) * Math.cos(e), Math.sin(e)];
    const right = [Math.cos(a), Math.sin(a), 0];
    const above = [-Math.sin(a) * Math.sin(e), Math.cos(a) * Math.sin(e), Math.cos(e)];
    return [right, above, towards];
  }
  const shiftOf = (piece) => directions.get(piece.index).map((value) => value * view.apart);
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

  // The distance from which all shown fragments fit the window, seen like this.
  function distanceFor(up, left) {
    const turn = turnOf(up, left);
    const [w, h] = [Math.max(canvas.clientWidth, 100), Math.max(canvas.clientHeight, 100)];
    const tall = LENS * (1 - 60 / h), wide = LENS * (w - 60) / h;  // room for the letters at the edges
    let distance = reachNow() * 0.2;
    for (const piece of pieces) {
      if (!state.shown[piece.index]) continue;
      const shift = shiftOf(piece);
      for (const point of piece.extent.some) {
        const away = point.map((value, k) => value + shift[k] - middle[k]);
        const [x, y, z] = turn.map((row) => dot(row, away));
        distance = Math.max(distance, z + Math.abs(y) / tall, z + Math.abs(x) / wide);
      }
    }
    return distance;
  }
  const reaches = [0, 1].map((apart) => Math.max(...pieces.flatMap((piece) => piece.extent.some.map((point) => Math.hypot(
    ...point.map((value, k) => value - middle[k] + apart * directions.get(piece.index)[k]))))));
  const reachNow = () => reaches[0] + (reaches[1] - reaches[0]) * view.apart;
  const distanceNow = () => reachNow() / LENS * view.zoom;

  function camera(size) {
    const distance = distanceNow(), reach = 1.3 * reachNow();
    const near = Math.max(distance - reach, distance * 0.02), far = distance + reach;
    const aspect = size[0] / size[1];
    const project = [1 / (LENS * aspect), 0, 0, 0, 0, 1 / LENS, 0, 0, 0, 0, -(far + near) / (far - near), -1, 0, 0,
      -2 * far * near / (far - near), 0];
    return { distance, near, far, project };
  }

  function use(piece) {
    gl.bindBuffer(gl.ARRAY_BUFFER, piece.vertices);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, piece.corners);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 3, gl.FLOAT, false, 16, 0);
    gl.enableVertexAttribArray(1);
    gl.vertexAttribPointer(1, 4, gl.BYTE, true, 16, 12);
    gl.uniform3fv(at.shift, shiftOf(piece));
    gl.uniform3fv(at.colour, piece.fragment.colour.map((value) => value / 255));
  }
  const paint = (piece) => gl.drawElements(gl.TRIANGLES, piece.count, gl.UNSIGNED_INT, 0);

  function setCamera(size) {
    const { distance, near, far, project } = camera(size);
    const turn = turnOf(view.up, view.left);
    const centre = middle.map((value, k) => value - turn[0][k] * view.x - turn[1][k] * view.y);
    gl.uniformMatrix4fv(at.project, false, project);
    gl.uniformMatrix3fv(at.turn, false, [0, 1, 2].flatMap((k) => turn.map((row) => row[k])));
    gl.uniform3fv(at.middle, centre);
    gl.uniform1f(at.away, distance);
    gl.uniform2f(at.range, Math.max(near, distance - reachNow()), distance + reachNow());
    return { turn, centre, distance };
  }

  function draw() {
    awaited = false;
    const scale = Math.min(window.devicePixelRatio || 1, 2);
    const size = [canvas.clientWidth, canvas.clientHeight].map((n) => Math.max(1, Math.round(n * scale)));
    if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, size[0], size[1]);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    gl.enable(gl.CULL_FACE);
    const { turn } = setCamera(size);
    const shown = pieces.filter((piece) => state.shown[piece.index]);
    const isGhost = (piece) => state.fracture >= 0 && !state.chosen.includes(piece.index);
    gl.uniform1f(at.flat_, 0);
    gl.uniform2f(at.grow, 0, 0);
    gl.disable(gl.BLEND);
    gl.cullFace(gl.BACK);
    gl.uniform1f(at.alpha, 1);
    for (const piece of shown) {
      if (isGhost(piece)) continue;
      use(piece);
      gl.uniform1f(at.lift, piece.index === state.near ? 0.06 : 0);
      paint(piece);
    }
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.depthMask(false);
    gl.uniform1f(at.lift, 0);
    gl.uniform1f(at.alpha, 0.16);
    for (const piece of shown.filter(isGhost)) {
      use(piece);
      paint(piece);
    }
    gl.depthMask(true);
    // Outlines: the inner sides of a slightly larger body, seen round the body itself.
    gl.uniform1f(at.flat_, 1);
    gl.uniform1f(at.alpha, 1);
    gl.cullFace(gl.FRONT);
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    for (const piece of shown) {
      const strong = state.fracture < 0 && state.chosen.includes(piece.index);
      if (piece.index !== state.near && !strong) continue;
      use(piece);
      gl.uniform3fv(at.colour, strong ? [1, 0.75, 0.1] : dark ? [1, 1, 1] : [0.1, 0.14, 0.2]);
      gl.uniform2f(at.grow, 2 * 2.4 * scale / size[0], 2 * 2.4 * scale / size[1]);
      paint(piece);
    }
    tellSides(turn);
  }
  function redraw() {
    if (!awaited) {
      awaited = true;
      requestAnimationFrame(draw);
    }
  }

  // Which way the edges of the window lie, as letters: R, L, A, P, H, F.
  function tellSides(turn) {
    const letter = (v) => {
      const names = [["L", "R"], ["P", "A"], ["H", "F"]];
      return [0, 1, 2].filter((k) => Math.abs(v[k]) > 0.38).sort((a, b) => Math.abs(v[b]) - Math.abs(v[a])).slice(0, 2)
        .map((k) => names[k][v[k] > 0 ? 0 : 1]).join("");
    };
    const minus = (v) => v.map((value) => -value);
    const spans = findAll("#letters span");
    [minus(turn[0]), turn[0], turn[1], minus(turn[1])].forEach((v, k) => { spans[k].textContent = letter(v); });
    for (const button of findAll("[data-view]")) {
      const [up, left] = button.dataset.view.split(",").map(Number);
      const same = Math.abs(up - view.up) < 0.5 && Math.abs(((left - view.left) % 360 + 540) % 360 - 180) < 0.5;
      button.setAttribute("aria-pressed", same ? "true" : "false");
    }
  }

  // Draw the one pixel under the pointer in numbers: who is there, and where in the world.
  const target = gl.createFramebuffer(), seen = gl.createTexture(), depth = gl.createRenderbuffer();
  gl.bindTexture(gl.TEXTURE_2D, seen);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 1, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
  gl.bindRenderbuffer(gl.RENDERBUFFER, depth);
  gl.renderbufferStorage(gl.RENDERBUFFER, gl.DEPTH_COMPONENT16, 1, 1);
  gl.bindFramebuffer(gl.FRAMEBUFFER, target);
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, seen, 0);
  gl.framebufferRenderbuffer(gl.FRAMEBUFFER, gl.DEPTH_ATTACHMENT, gl.RENDERBUFFER, depth);

  function look(x, y) {
    const size = [canvas.clientWidth, canvas.clientHeight];
    gl.bindFramebuffer(gl.FRAMEBUFFER, target);
    gl.viewport(-Math.floor(x), Math.floor(y) + 1 - size[1], size[0], size[1]);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.disable(gl.BLEND);
    gl.enable(gl.DEPTH_TEST);
    gl.enable(gl.CULL_FACE);
    gl.cullFace(gl.BACK);
    const { turn, centre, distance } = setCamera(size);
    gl.uniform1f(at.flat_, 2);
    gl.uniform2f(at.grow, 0, 0);
    for (const piece of pieces) {
      if (!state.shown[piece.index]) continue;
      use(piece);
      const number = piece.index + 1;
      gl.uniform4f(at.id, (number & 255) / 255, (number >> 8) / 255, 0, 0);
      paint(piece);
    }
    const pixel = new Uint8Array(4);
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
    const index = pixel[0] + 256 * pixel[1] - 1;
    if (index < 0) return null;
    const reach = reachNow(), { near } = camera(size), nearest = Math.max(near, distance - reach);
    const far = nearest + (pixel[2] + pixel[3] / 255) / 255 * (distance + reach - nearest);
    const half = far * LENS, aspect = size[0] / size[1];
    const eye = [(2 * x / size[0] - 1) * half * aspect, (1 - 2 * y / size[1]) * half, distance - far];
    const shift = shiftOf(pieces.find((piece) => piece.index === index));
    const world = [0, 1, 2].map((k) => eye[0] * turn[0][k] + eye[1] * turn[1][k] + eye[2] * turn[2][k] + centre[k] - shift[k]);
    return { index, world };
  }

  // Go somewhere in small steps, or at once where movement is not wanted.
  function go(goal) {
    cancelAnimationFrame(moving);
    const from = { ...view };
    if (goal.left !== undefined) goal.left = from.left + ((goal.left - from.left) % 360 + 540) % 360 - 180;
    const seconds = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 0.35;
    const started = performance.now();
    const step = (now) => {
      const part = seconds ? Math.min(1, Math.max(0, now - started) / 1000 / seconds) : 1;
      const eased = part * part * (3 - 2 * part);
      for (const key of Object.keys(goal)) view[key] = from[key] + (goal[key] - from[key]) * eased;
      redraw();
      if (part < 1) moving = requestAnimationFrame(step);
    };
    step(started);
  }
  function show(up, left) {
    go({ up, left, x: 0, y: 0, zoom: distanceFor(up, left) * LENS / reachNow() });
  }
  function turnBy(left, up) {
    cancelAnimationFrame(moving);
    view.left = (view.left + left) % 360;
    view.up = Math.max(-90, Math.min(90, view.up + up));
    redraw();
  }
  function zoomBy(factor) {
    cancelAnimationFrame(moving);
    view.zoom = Math.max(0.06, Math.min(3, view.zoom * factor));
    redraw();
  }
  function moveBy(x, y) {
    const perPixel = 2 * distanceNow() * LENS / canvas.clientHeight;
    view.x += x * perPixel;
    view.y -= y * perPixel;
    redraw();
  }
  function setApart(part) {
    view.apart = part;
    redraw();
  }
  function reset() {
    view.zoom = distanceFor(view.up, view.left) * LENS / reachNow();
    redraw();
  }
  return { redraw, look, show, turnBy, zoomBy, moveBy, setApart, reset };
}

// Where each piece moves: bones away from the middle of all, pieces away from the middle of their bone.
function explosion(pieces) {
  const mean = (list) => [0, 1, 2].map((k) => list.reduce((sum, point) => sum + point[k], 0) / list.length);
  const bones = new Map();
  for (const piece of pieces) {
    const name = piece.fragment.bone;
    bones.set(name, [...(bones.get(name) || []), piece]);
  }
  const middles = new Map([...bones].map(([name, list]) => {
    const low = [0, 1, 2].map((k) => Math.min(...list.map((p) => p.extent.low[k])));
    return [name, low.map((value, k) => (value + Math.max(...list.map((p) => p.extent.high[k]))) / 2)];
  }));
  const centre = mean([...middles.values()]);
  return new Map(pieces.map((piece) => {
    const bone = middles.get(piece.fragment.bone);
    return [piece.index, [0, 1, 2].map((k) => APART.bone * (bone[k] - centre[k]) + APART.piece * (piece.centre[k] - bone[k]))];
  }));
}
