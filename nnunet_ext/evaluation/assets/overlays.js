// The page: what is chosen, one picture per model with its strip of errors, and all ways to scroll through the slices.
document.documentElement.classList.add("js");
const AXES = ["Axial", "Coronal", "Sagittal"];
const PLANES = [[2, 1, false], [2, 0, true], [1, 0, true]];  // axes of columns and rows; whether heads are up
const LETTERS = ["RLAP", "RLHF", "APHF"];
const SAID = ["", "true positive", "false positive", "false negative", "wrong structure"];
const style = getComputedStyle(document.documentElement);
const colourOf = (name) => {
  const text = style.getPropertyValue(name).trim();
  return [1, 3, 5].map((k) => parseInt(text.slice(k, k + 2), 16));
};
const PAINT = [null, colourOf("--tp"), colourOf("--fp"), colourOf("--fn"), colourOf("--wrong")];
const STRENGTH = [0, 0.4, 1, 1, 1];
const css = (colour, alpha) => `rgba(${colour.join(",")},${alpha === undefined ? 1 : alpha})`;
const REFERENCE = colourOf("--ref"), PREDICTION = colourOf("--pred");

const state = { index: 0, view: "errors", axis: 0, model: data.models.length <= 3 ? -1 : 0, structure: 0, slices: [0, 0, 0], zoom: 1, pan: [0, 0] };
let current = null, panes = [], awaited = false;

const shownModels = () => (state.model < 0 ? data.models.map((_, index) => index) : [state.model]);
const nameOf = (number) => {
  const found = data.structures.find((structure) => structure.number === number);
  return number === 0 ? "background" : found ? found.name : `label ${number}`;
};
const figure = (value, digits) => (Number.isFinite(value) ? value.toFixed(digits) : "undefined");

function redraw() {
  if (awaited) return;
  awaited = true;
  requestAnimationFrame(() => {
    awaited = false;
    if (current) panes.forEach(draw);
    tell();
  });
}

// Figures of a model: of the whole case from the full volume, of slices from what is shown.
function measure(pane) {
  const { about, perSlice } = current;
  pane.table = verdicts(about, pane.model, state.structure);
  pane.dice = diceOf(counted([0, ...about.counts], pane.table, 0));
  const kinds = about.kinds.length + 1;
  pane.profile = Array.from({ length: about.shape[state.axis] }, (_, slice) => counted(perSlice[state.axis], pane.table, slice * kinds));
}

function errorOf(slice) {
  return panes.reduce((sum, pane) => sum + pane.profile[slice][2] + pane.profile[slice][3] + pane.profile[slice][4], 0);
}

function peaks() {  // slices with most error first, none beside another
  const count = current.about.shape[state.axis], apart = Math.max(2, Math.round(0.03 * count));
  const order = [...Array(count).keys()].sort((a, b) => errorOf(b) - errorOf(a) || a - b);
  const chosen = [];
  for (const slice of order) {
    if (chosen.length >= 8 || errorOf(slice) === 0) break;
    if (chosen.every((other) => Math.abs(other - slice) >= apart)) chosen.push(slice);
  }
  return chosen;
}

function makePanes() {
  const home = find("#panes");
  home.textContent = "";
  const models = shownModels(), isNarrow = innerWidth <= 640;
  home.style.setProperty("--columns", Math.min(models.length, 3));
  if (models.length > (isNarrow ? 1 : 3)) home.style.setProperty("--tall", isNarrow ? "34vh" : "38vh");
  else home.style.removeProperty("--tall");
  panes = models.map((model) => {
    const box = document.createElement("figure");
    box.className = "pane";
    box.innerHTML = '<figcaption><b></b><span></span><span></span></figcaption><div class="film"><canvas tabindex="0" role="img"></canvas><i></i><i></i><i></i><i></i><span class="chip" hidden></span></div><canvas class="profile" role="img"></canvas>';
    home.append(box);
    const pane = { model, box, canvas: find(".film canvas", box), strip: find(".profile", box), chip: find(".chip", box), base: document.createElement("canvas"), paint: document.createElement("canvas"), spots: new Map() };
    find("b", box).textContent = data.models[model];
    pane.canvas.setAttribute("aria-label", `Slice with the overlay of ${data.models[model]}`);
    pane.strip.setAttribute("aria-label", `Error of every slice, ${data.models[model]}`);
    listen(pane);
    return pane;
  });
}

function sized(canvas) {
  const scale = Math.min(window.devicePixelRatio || 1, 2);
  const size = [canvas.clientWidth, canvas.clientHeight].map((n) => Math.max(1, Math.round(n * scale)));
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  return [size[0], size[1], scale];
}

function cut() {
  const { about, labels, grey } = current;
  const [column, row, flips] = PLANES[state.axis], step = [about.shape[1] * about.shape[2], about.shape[2], 1];
  const [w, h] = [about.shape[column], about.shape[row]];
  const numbers = new Uint16Array(w * h), tones = new Uint8Array(w * h);
  const start = state.slices[state.axis] * step[state.axis];
  for (let y = 0, i = 0; y < h; y++) {
    let at = start + (flips ? h - 1 - y : y) * step[row];
    for (let x = 0; x < w; x++, i++, at += step[column]) {
      numbers[i] = labels[at];
      if (grey) tones[i] = grey[at];
    }
  }
  return { numbers, tones, w, h, size: [w * about.spacing[column], h * about.spacing[row]] };
}

function draw(pane) {
  const { about, grey } = current;
  const { numbers, tones, w, h, size } = cut();
  const [wide, tall, scale] = sized(pane.canvas);
  Object.assign(pane, { numbers, w, h });
  const gain = 0.6 + 1.334 * find("#contrast").value / 100, soft = 59;  // 40 HU keep their tone
  const opacity = find("#opacity").value / 100;
  const base = new ImageData(w, h), paint = new ImageData(w, h);
  for (let i = 0; i < w * h; i++) {
    const tone = grey ? (tones[i] - soft) * gain + soft : 26;
    base.data[4 * i] = base.data[4 * i + 1] = base.data[4 * i + 2] = tone;
    base.data[4 * i + 3] = 255;
    const verdict = pane.table[numbers[i]];
    if (verdict && state.view === "errors") {
      const colour = PAINT[verdict];
      for (let k = 0; k < 3; k++) paint.data[4 * i + k] = colour[k];
      paint.data[4 * i + 3] = 255 * opacity * STRENGTH[verdict];
    }
  }
  for (const [canvas, image] of [[pane.base, base], [pane.paint, paint]]) {
    [canvas.width, canvas.height] = [w, h];
    canvas.getContext("2d").putImageData(image, 0, 0);
  }
  const fit = Math.min(wide / size[0], tall / size[1]) * state.zoom;
  const [sx, sy] = [fit * size[0] / w, fit * size[1] / h];
  const left = (wide - sx * w) / 2 + state.pan[0] * scale, top = (tall - sy * h) / 2 + state.pan[1] * scale;
  Object.assign(pane, { sx: sx / scale, sy: sy / scale, left: left / scale, top: top / scale });
  const paper = pane.canvas.getContext("2d");
  paper.setTransform(1, 0, 0, 1, 0, 0);
  paper.fillStyle = "#05070a";
  paper.fillRect(0, 0, wide, tall);
  paper.imageSmoothingEnabled = true;
  paper.imageSmoothingQuality = "high";
  paper.drawImage(pane.base, left, top, sx * w, sy * h);
  paper.imageSmoothingEnabled = false;
  paper.drawImage(pane.paint, left, top, sx * w, sy * h);
  if (state.view === "contours") drawContours(paper, pane, about, [left, top, sx, sy, scale]);
  drawScaleBar(paper, fit, tall, scale);
  drawStrip(pane);
  const here = pane.profile[state.slices[state.axis]], [c, r] = PLANES[state.axis];
  const area = about.spacing[c] * about.spacing[r] / 100;
  const texts = findAll("figcaption span", pane.box);
  texts[0].textContent = `Dice ${figure(pane.dice, 4)}`;
  const wrong = here[WRONG] ? `, ${(here[WRONG] * area).toFixed(2)} wrong` : "";
  texts[1].textContent = `this slice: ${figure(diceOf(here), 3)}; +${(here[FALSE_POSITIVE] * area).toFixed(2)} \u2212${(here[FALSE_NEGATIVE] * area).toFixed(2)} cm\u00b2${wrong}`;
  findAll(".film i", pane.box).forEach((letter, k) => { letter.textContent = LETTERS[state.axis][k]; });
}

function drawContours(paper, pane, about, [left, top, sx, sy, scale]) {
  const wanted = state.structure ? [state.structure] : [...new Set(about.kinds.flatMap((kind) => [kind[0], kind[pane.model + 1]]))].filter((n) => n);
  const lines = [[], []];
  for (const number of wanted) {
    [0, pane.model + 1].forEach((place, which) => {
      const table = new Uint8Array(about.kinds.length + 1);
      about.kinds.forEach((kind, index) => { table[index + 1] = kind[place] === number ? 1 : 0; });
      const mask = new Uint8Array(pane.w * pane.h);
      let any = false;
      for (let i = 0; i < mask.length; i++) if ((mask[i] = table[pane.numbers[i]])) any = true;
      if (any) lines[which].push(outlineOf(mask, pane.w, pane.h, 1));
    });
  }
  const opacity = 0.35 + 0.65 * find("#opacity").value / 100;
  paper.lineCap = "round";
  const strokes = [[0, "rgba(0,0,0,.55)", 5.2], [1, "rgba(0,0,0,.55)", 3.6], [0, css(REFERENCE, opacity), 3.4], [1, css(PREDICTION, opacity), 2]];
  for (const [which, colour, width] of strokes) {
    paper.strokeStyle = colour;
    paper.lineWidth = width * scale;
    paper.beginPath();
    for (const line of lines[which]) {
      for (let i = 0; i < line.length; i += 4) {
        paper.moveTo(left + line[i] * sx, top + line[i + 1] * sy);
        paper.lineTo(left + line[i + 2] * sx, top + line[i + 3] * sy);
      }
    }
    paper.stroke();
  }
}

function drawScaleBar(paper, fit, tall, scale) {
  const mm = [50, 20, 10, 5, 2, 1].find((n) => n * fit <= 130 * scale) || 1;
  const [x, y] = [14 * scale, tall - 14 * scale];
  paper.fillStyle = "rgba(255,255,255,.9)";
  paper.fillRect(x, y, mm * fit, 2 * scale);
  paper.font = `600 ${11 * scale}px system-ui, sans-serif`;
  paper.shadowColor = "#000";
  paper.shadowBlur = 3 * scale;
  paper.fillText(`${mm} mm`, x, y - 5 * scale);
  paper.shadowBlur = 0;
}

function drawStrip(pane) {
  const [wide, tall, scale] = sized(pane.strip);
  const paper = pane.strip.getContext("2d"), count = pane.profile.length;
  const most = Math.max(1, ...panes.flatMap((other) => other.profile.map((c) => c[2] + c[3] + c[4])));
  paper.fillStyle = "#11161d";
  paper.fillRect(0, 0, wide, tall);
  // As the slider's knob goes: its middle keeps half a knob from both ends.
  const edge = 8 * scale, place = (slice) => edge + (wide - 2 * edge) * (count > 1 ? slice / (count - 1) : 0.5);
  const bar = Math.max(1, (wide - 2 * edge) / count);
  pane.profile.forEach((counts, slice) => {
    let y = tall - 2 * scale;
    for (const verdict of [FALSE_POSITIVE, FALSE_NEGATIVE, WRONG]) {
      const high = (tall - 6 * scale) * counts[verdict] / most;
      paper.fillStyle = css(PAINT[verdict], 0.95);
      paper.fillRect(place(slice) - bar / 2, y - high, bar, high);
      y -= high;
    }
  });
  paper.fillStyle = "rgba(255,255,255,.9)";
  paper.fillRect(place(state.slices[state.axis]) - 0.75 * scale, 0, 1.5 * scale, tall);
}

function tell() {
  if (!current) return;
  const { about } = current, count = about.shape[state.axis];
  find("#slice").max = count - 1;
  find("#slice").value = state.slices[state.axis];
  find("#where").textContent = `${AXES[state.axis]} ${state.slices[state.axis] + 1} of ${count}`;
  findAll("[data-view]").forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.view === state.view)));
  findAll("[data-axis]").forEach((b) => b.setAttribute("aria-pressed", String(Number(b.dataset.axis) === state.axis)));
  findAll("[data-model]").forEach((b) => b.setAttribute("aria-pressed", String(Number(b.dataset.model) === state.model)));
  findAll("[data-case]").forEach((b) => b.setAttribute("aria-current", String(Number(b.dataset.case) === state.index)));
  find("#legend-errors").hidden = state.view !== "errors";
  find("#legend-contours").hidden = state.view !== "contours";
  find("#opacity-label").hidden = state.view === "plain";
  find("#contrast-label").hidden = !current.grey;
  find("#turned").hidden = state.axis === 2;
}

function setSlice(slice) {
  state.slices[state.axis] = Math.min(Math.max(Math.round(slice), 0), current.about.shape[state.axis] - 1);
  redraw();
}
const scroll = (by) => current && setSlice(state.slices[state.axis] + by);

function remeasure(jumps) {
  if (!current) return;
  panes.forEach(measure);
  if (jumps) {
    const first = peaks()[0];
    setSlice(first === undefined ? current.about.shape[state.axis] / 2 : first);
  }
  redraw();
}

function nextPeak() {
  if (!current) return;
  const all = peaks();
  if (all.length) setSlice(all[(all.indexOf(state.slices[state.axis]) + 1) % all.length]);
}

function fitAgain() {
  state.zoom = 1;
  state.pan = [0, 0];
  redraw();
}

function zoomBy(factor, at) {
  const before = state.zoom;
  state.zoom = Math.min(Math.max(before * factor, 1), 24);
  const ratio = state.zoom / before;
  state.pan = state.zoom === 1 ? [0, 0] : state.pan.map((value, k) => (value - at[k]) * ratio + at[k]);
  redraw();
}

async function choose(index) {
  state.index = (index + data.cases.length) % data.cases.length;
  const own = state.index;
  document.documentElement.dataset.ready = "no";
  current = null;
  const opened = await openCase(own, () => state.index === own, redraw);
  if (state.index !== own) return;
  current = opened;
  state.zoom = 1;
  state.pan = [0, 0];
  for (const axis of [2, 1, 0].filter((a) => a !== state.axis)) state.slices[axis] = -1;
  remeasure(true);
  document.documentElement.dataset.ready = "labels";
  const from = state.axis === 0 ? state.slices[0] : opened.about.shape[0] / 2;
  if (await opened.decode(from) && state.index === own) document.documentElement.dataset.ready = "yes";
}

function setAxis(axis) {
  state.axis = axis;
  fitAgain();
  remeasure(current && state.slices[axis] < 0);
}

function setModel(model) {
  state.model = model;
  makePanes();
  remeasure(false);
}

function setView(view) {
  state.view = view;
  redraw();
}

// Pointers: wheel and swipe scroll, drag moves, two fingers zoom; pointing says what lies there.
function listen(pane) {
  const { canvas, strip, spots } = pane;
  const middle = (x, y) => {
    const box = canvas.getBoundingClientRect();
    return [x - box.left - box.width / 2, y - box.top - box.height / 2];
  };
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) zoomBy(event.deltaY < 0 ? 1.2 : 1 / 1.2, middle(event.clientX, event.clientY));
    else scroll(event.deltaY > 0 ? -1 : 1);
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    spots.set(event.pointerId, [event.clientX, event.clientY]);
    pane.rest = 0;
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = spots.get(event.pointerId);
    if (!before) return point(pane, event);
    const now = [event.clientX, event.clientY], by = [now[0] - before[0], now[1] - before[1]];
    if (spots.size === 2) {
      const other = [...spots].find(([id]) => id !== event.pointerId)[1];
      const length = (spot) => Math.hypot(spot[0] - other[0], spot[1] - other[1]);
      zoomBy(length(now) / Math.max(length(before), 1), middle((now[0] + other[0]) / 2, (now[1] + other[1]) / 2));
      if (state.zoom > 1) state.pan = state.pan.map((value, k) => value + by[k] / 2);
    } else if (event.pointerType === "touch") {
      pane.rest += by[1];
      const steps = Math.trunc(pane.rest / 7);
      pane.rest -= 7 * steps;
      if (steps) scroll(-steps);
    } else {
      state.pan = state.pan.map((value, k) => value + by[k]);
    }
    spots.set(event.pointerId, now);
    redraw();
  });
  for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, (event) => spots.delete(event.pointerId));
  canvas.addEventListener("pointerleave", () => { pane.chip.hidden = true; });
  canvas.addEventListener("dblclick", fitAgain);
  const go = (event) => {
    if (!current || (event.type === "pointermove" && !(event.buttons & 1))) return;
    const box = strip.getBoundingClientRect();
    setSlice((event.clientX - box.left - 8) / Math.max(box.width - 16, 1) * (pane.profile.length - 1));
  };
  for (const kind of ["pointerdown", "click"]) strip.addEventListener(kind, go);
  strip.addEventListener("pointermove", go);
}

function point(pane, event) {
  if (!current || !pane.numbers) return;
  const box = pane.canvas.getBoundingClientRect();
  const x = Math.floor((event.clientX - box.left - pane.left) / pane.sx), y = Math.floor((event.clientY - box.top - pane.top) / pane.sy);
  const inside = x >= 0 && y >= 0 && x < pane.w && y < pane.h;
  const kind = inside ? pane.numbers[y * pane.w + x] : 0, verdict = pane.table[kind];
  pane.chip.hidden = !verdict;
  if (!verdict) return;
  const [truth, found] = [current.about.kinds[kind - 1][0], current.about.kinds[kind - 1][pane.model + 1]];
  pane.chip.textContent = `${SAID[verdict]}: reference ${nameOf(truth)}, predicted ${nameOf(found)}`;
}

findAll("[data-view]").forEach((button) => button.addEventListener("click", () => setView(button.dataset.view)));
findAll("[data-axis]").forEach((button) => button.addEventListener("click", () => setAxis(Number(button.dataset.axis))));
findAll("[data-model]").forEach((button) => button.addEventListener("click", () => setModel(Number(button.dataset.model))));
findAll("[data-case]").forEach((button) => button.addEventListener("click", () => choose(Number(button.dataset.case))));
find("#structure").addEventListener("change", (event) => {
  state.structure = Number(event.target.value);
  remeasure(true);
});
find("#slice").addEventListener("input", (event) => current && setSlice(Number(event.target.value)));
find("#worst").addEventListener("click", nextPeak);
find("#closer").addEventListener("click", () => zoomBy(1.4, [0, 0]));
find("#further").addEventListener("click", () => zoomBy(1 / 1.4, [0, 0]));
find("#fit").addEventListener("click", fitAgain);
for (const id of ["#opacity", "#contrast"]) find(id).addEventListener("input", redraw);
addEventListener("resize", redraw);
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const isRange = event.target.type === "range";
  const by = { ArrowUp: 1, ArrowDown: -1, PageUp: 10, PageDown: -10, Home: -1e6, End: 1e6 }[event.key];
  if (by !== undefined) {
    if (isRange) return;
    scroll(by);
  } else if ((event.key === "ArrowLeft" || event.key === "ArrowRight") && !isRange) choose(state.index + (event.key === "ArrowRight" ? 1 : -1));
  else if ("123".includes(event.key)) setAxis(Number(event.key) - 1);
  else if (event.key === "+" || event.key === "=") zoomBy(1.4, [0, 0]);
  else if (event.key === "-") zoomBy(1 / 1.4, [0, 0]);
  else if (event.key === "0") fitAgain();
  else {
    const action = { e: () => setView("errors"), c: () => setView("contours"), v: () => setView("plain"), n: nextPeak, m: () => setModel(state.model + 1 < data.models.length ? state.model + 1 : data.models.length > 1 ? -1 : 0) }[event.key.toLowerCase()];
    if (!action) return;
    action();
  }
  if (!isRange) event.preventDefault();
});
makePanes();
choose(0);
