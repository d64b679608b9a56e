// The page put together: tables, switches, keys and pointers, and what happens where there is no WebGL.
document.documentElement.classList.add("js");
let viewer = null;
let middleOf = () => null;
const canvas = find("#solid"), stage = find(".stage"), chip = find("#chip");

function name(index) {
  const cell = find(`[data-fragment="${fragments[index].number}"] .number`);
  return `${fragments[index].name}, ${cell.textContent} cm³`;
}
function pick(index) {
  const again = state.fracture < 0 && state.chosen.length === 1 && state.chosen[0] === index;
  choose(again ? [] : [index]);
  const place = again ? null : middleOf(index);
  if (place) setPlace(place);
}

for (const row of findAll("[data-fragment]")) {
  const index = byNumber.get(Number(row.dataset.fragment));
  find("input", row).addEventListener("change", (event) => {
    showFragments(state.shown.map((value, i) => (i === index ? event.target.checked : value)));
  });
  find(".name", row).addEventListener("click", () => pick(index));
  find(".only", row).addEventListener("click", () => {
    const alone = state.shown.every((value, i) => value === (i === index));
    showFragments(state.shown.map((value, i) => alone || i === index));
  });
  row.addEventListener("pointerenter", () => setNear(index));
  row.addEventListener("pointerleave", () => setNear(-1));
}
find("#all").addEventListener("click", () => {
  showFragments(state.shown.map(() => true));
  choose([]);
});
for (const row of findAll("[data-fracture]")) {
  const number = Number(row.dataset.fracture), { pair, place } = data.fractures[number];
  find(".name", row).addEventListener("click", () => {
    if (state.fracture === number) {
      choose([]);
      return;
    }
    const sides = pair.map((value) => byNumber.get(value));
    showFragments(state.shown.map((value, i) => value || sides.includes(i)));
    choose(sides, number);
    if (place) setPlace(place);
  });
}
listeners.push(() => {
  for (const row of findAll("[data-fragment]")) {
    const index = byNumber.get(Number(row.dataset.fragment));
    find("input", row).checked = state.shown[index];
    row.classList.toggle("off", !state.shown[index]);
    row.classList.toggle("near", state.near === index);
    row.classList.toggle("chosen", state.chosen.includes(index));
    find(".name", row).setAttribute("aria-pressed", String(state.fracture < 0 && state.chosen.includes(index)));
    find(".only", row).setAttribute("aria-pressed", String(state.shown.every((value, i) => value === (i === index))));
  }
  for (const row of findAll("[data-fracture]")) {
    const chosen = state.fracture === Number(row.dataset.fracture);
    row.classList.toggle("chosen", chosen);
    find(".name", row).setAttribute("aria-pressed", String(chosen));
  }
});

// Mouse, pen and fingers on the viewer.
const pointers = new Map();
let travelled = 0;
function placeOf(event) {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}
function showChip(index, at) {
  chip.hidden = index < 0;
  if (index < 0) return;
  chip.textContent = name(index);
  const x = Math.max(6, Math.min(at[0] + 16, canvas.clientWidth - chip.offsetWidth - 6));
  const y = at[1] + 20 + chip.offsetHeight > canvas.clientHeight ? at[1] - chip.offsetHeight - 12 : at[1] + 20;
  chip.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
}
let hovered = null;
function hover(at) {
  if (!hovered) requestAnimationFrame(hoverNow);
  hovered = at;
}
function hoverNow() {
  const at = hovered;
  hovered = null;
  if (!viewer || !at || pointers.size) return;
  const seen = viewer.look(at[0], at[1]);
  setNear(seen ? seen.index : -1);
  showChip(seen ? seen.index : -1, at);
}
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  if (!pointers.size) travelled = 0;
  pointers.set(event.pointerId, placeOf(event));
  showChip(-1);
});
canvas.addEventListener("pointermove", (event) => {
  const at = placeOf(event), before = pointers.get(event.pointerId);
  if (!before) {
    if (event.pointerType !== "touch") hover(at);
    return;
  }
  const [dx, dy] = [at[0] - before[0], at[1] - before[1]];
  travelled += Math.hypot(dx, dy);
  const other = [...pointers].find(([id]) => id !== event.pointerId);
  if (other) {
    const [was, is] = [before, at].map((p) => Math.hypot(p[0] - other[1][0], p[1] - other[1][1]));
    viewer.zoomBy(was / Math.max(is, 1));
    viewer.moveBy(dx / 2, dy / 2);
  } else if (event.shiftKey || event.buttons & 6) {
    viewer.moveBy(dx, dy);
  } else {
    viewer.turnBy(-dx * 0.45, dy * 0.45);
  }
  pointers.set(event.pointerId, at);
});
function release(event) {
  const at = pointers.get(event.pointerId);
  pointers.delete(event.pointerId);
  if (!at || event.type === "pointercancel" || travelled > 6 || event.button > 0) return;
  if (!viewer) return;
  const seen = viewer.look(at[0], at[1]);
  choose(seen && !(state.fracture < 0 && state.chosen[0] === seen.index) ? [seen.index] : []);
  if (seen) setPlace(voxelOf(seen.world));
  showChip(seen ? seen.index : -1, at);
}
canvas.addEventListener("pointerup", release);
canvas.addEventListener("pointercancel", release);
canvas.addEventListener("pointerleave", (event) => {
  if (event.pointerType === "touch") return;
  hovered = null;
  setNear(-1);
  showChip(-1);
});
canvas.addEventListener("contextmenu", (event) => event.preventDefault());
canvas.addEventListener("wheel", (event) => {  // the page is scrolled until the viewer was clicked
  if (document.activeElement !== canvas && !event.ctrlKey) return;
  event.preventDefault();
  viewer.zoomBy(Math.exp(event.deltaY * (event.ctrlKey ? 0.01 : 0.0014)));
}, { passive: false });

const explode = find("#explode");
explode.addEventListener("input", () => viewer && viewer.setApart(explode.value / 100));
const views = findAll("[data-view]");
for (const button of views) {
  button.addEventListener("click", () => viewer && viewer.show(...button.dataset.view.split(",").map(Number)));
}
canvas.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const turn = { ArrowLeft: [-6, 0], ArrowRight: [6, 0], ArrowUp: [0, 6], ArrowDown: [0, -6] }[event.key];
  if (turn) viewer.turnBy(...turn);
  else if (event.key === "+" || event.key === "=") viewer.zoomBy(0.88);
  else if (event.key === "-") viewer.zoomBy(1 / 0.88);
  else if (event.key === "0") viewer.show(0, 0);
  else if (views["123456".indexOf(event.key)]) views["123456".indexOf(event.key)].click();
  else return;
  event.preventDefault();
});
addEventListener("keydown", (event) => {
  if (event.key === "Escape") choose([]);
});
addEventListener("beforeprint", () => findAll("details").forEach((part) => { part.open = true; }));

function showStill(text) {
  viewer = null;
  canvas.hidden = true;
  stage.classList.remove("turns");
  find("#tools").hidden = true;
  find("#solid-help").hidden = true;
  find("#still-note").textContent = text;
}
const NO_WEBGL = "This browser shows no 3D here (WebGL is off), so this is a picture. Tables and slices work all the same.";

async function start() {
  canvas.hidden = false;
  stage.classList.add("turns");
  try {
    viewer = await startViewer(canvas);
  } catch (error) {
    viewer = null;
  }
  if (viewer) {
    listeners.push(() => viewer && viewer.redraw());
    addEventListener("resize", () => viewer && viewer.redraw());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => viewer && viewer.redraw());
    canvas.addEventListener("webglcontextlost", () => showStill(NO_WEBGL));
    viewer.reset();
  } else {
    showStill(NO_WEBGL);
  }
  document.documentElement.dataset.viewer = viewer ? "ready" : "off";
  if (typeof DecompressionStream === "undefined") {
    find(".slices").hidden = true;
    return;
  }
  middleOf = await startSlices();
}
start();
