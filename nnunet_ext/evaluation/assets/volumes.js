// The volumes of a case: labels unpacked at once, the CT decoded slice by slice, and how many voxels of each kind a slice has.
const data = JSON.parse(document.getElementById("data").textContent);
const find = (selector, root) => (root || document).querySelector(selector);
const findAll = (selector, root) => Array.from((root || document).querySelectorAll(selector));

const TRUE_NEGATIVE = 0, TRUE_POSITIVE = 1, FALSE_POSITIVE = 2, FALSE_NEGATIVE = 3, WRONG = 4;

async function unpacked(text) {
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// What each kind of voxel is for one model: right, too much, too little, or of another structure. Structure 0: all.
function verdicts(about, model, structure) {
  const table = new Uint8Array(about.kinds.length + 1);
  about.kinds.forEach((kind, index) => {
    const truth = kind[0], found = kind[model + 1];
    let verdict;
    if (structure) verdict = truth === structure ? (found === structure ? TRUE_POSITIVE : FALSE_NEGATIVE) : found === structure ? FALSE_POSITIVE : TRUE_NEGATIVE;
    else if (truth) verdict = found === truth ? TRUE_POSITIVE : found ? WRONG : FALSE_NEGATIVE;
    else verdict = found ? FALSE_POSITIVE : TRUE_NEGATIVE;
    table[index + 1] = verdict;
  });
  return table;
}

// Dice of counts by verdict; a voxel of another structure is missing from one and too much in the other.
function diceOf(counts) {
  const both = 2 * counts[TRUE_POSITIVE];
  const all = both + counts[FALSE_POSITIVE] + counts[FALSE_NEGATIVE] + 2 * counts[WRONG];
  return all ? both / all : NaN;
}

function counted(kindCounts, table, start) {
  const counts = [0, 0, 0, 0, 0];
  for (let kind = 1; kind < table.length; kind++) counts[table[kind]] += kindCounts[start + kind];
  return counts;
}

async function openCase(index, isWanted, redraw) {
  const about = data.cases[index];
  const content = JSON.parse(document.getElementById(`volume-${index}`).textContent);
  const raw = await unpacked(content.labels);
  const labels = about.bits === 8 ? raw : new Uint16Array(raw.buffer);
  const [depth, height, width] = about.shape;
  const grey = content.slices ? new Uint8Array(depth * height * width) : null;
  const perSlice = [0, 1, 2].map((axis) => {  // voxels of each kind, slice by slice
    const kinds = about.kinds.length + 1, counts = new Uint32Array(about.shape[axis] * kinds);
    for (let z = 0, i = 0; z < depth; z++) {
      for (let y = 0; y < height; y++) {
        const row = (axis === 0 ? z : y) * kinds;
        if (axis === 2) for (let x = 0; x < width; x++, i++) counts[x * kinds + labels[i]]++;
        else for (let x = 0; x < width; x++, i++) counts[row + labels[i]]++;
      }
    }
    return counts;
  });

  // From the middle of interest outwards, a few at a time.
  async function decode(from) {
    if (!grey) return true;
    const order = [...Array(depth).keys()].sort((a, b) => Math.abs(a - from) - Math.abs(b - from));
    const paper = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    [paper.canvas.width, paper.canvas.height] = [width, height];
    for (let first = 0; first < depth; first += 8) {
      const images = await Promise.all(order.slice(first, first + 8).map(async (z) => {
        const image = new Image();
        image.src = "data:image/webp;base64," + content.slices[z];
        await image.decode();
        return [z, image];
      }));
      if (!isWanted()) return false;
      for (const [z, image] of images) {
        paper.drawImage(image, 0, 0);
        const points = paper.getImageData(0, 0, width, height).data;
        for (let i = 0, at = z * height * width; i < points.length; i += 4, at++) grey[at] = points[i];
      }
      if (first === 0 || first % 64 === 0) redraw();
    }
    redraw();
    return true;
  }
  return { about, labels, grey, perSlice, decode };
}
