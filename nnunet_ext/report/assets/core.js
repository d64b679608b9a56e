// The data of the page, what is chosen at the moment, and who wants to know when that changes.
const data = JSON.parse(document.getElementById("data").textContent);
const fragments = data.fragments;
const byNumber = new Map(fragments.map((fragment, index) => [fragment.number, index]));
const find = (selector, root) => (root || document).querySelector(selector);
const findAll = (selector, root) => Array.from((root || document).querySelectorAll(selector));

const state = {
  shown: fragments.map(() => true),
  near: -1,             // the fragment under the pointer
  chosen: [],           // fragments that were picked: one, or the two sides of a fracture
  fracture: -1,
  place: data.volume.start.slice(),  // voxel z, y, x that the slices run through
};
const listeners = [];

function changed(what) {
  for (const listener of listeners) listener(what);
}

function showFragments(shown) {
  state.shown = shown;
  changed("shown");
}

function setNear(index) {
  if (index === state.near) return;
  state.near = index;
  changed("near");
}

function choose(indices, fracture) {
  state.chosen = indices;
  state.fracture = fracture === undefined ? -1 : fracture;
  changed("chosen");
}

function setPlace(place) {
  state.place = place.map((value, axis) => Math.min(Math.max(Math.round(value), 0), data.volume.shape[axis] - 1));
  changed("place");
}

function bytesOf(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

async function unpacked(text) {
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// World millimetres (LPS) to voxels z, y, x of the slices.
function voxelOf(world) {
  const { origin, direction: d, spacing } = data.volume;
  const away = [world[0] - origin[0], world[1] - origin[1], world[2] - origin[2]];
  const along = (k) => away[0] * d[k] + away[1] * d[3 + k] + away[2] * d[6 + k];  // the matrix is a rotation
  return [along(2) / spacing[0], along(1) / spacing[1], along(0) / spacing[2]];
}
