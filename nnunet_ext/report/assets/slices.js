// The slices in three planes: grey values and labels of one volume, cut at the chosen place, with contours.
async function startSlices() {
  const { shape, spacing, bits } = data.volume;
  const [depth, height, width] = shape;
  const raw = await unpacked(data.volume.labels);
  const labels = bits === 8 ? raw : new Uint16Array(raw.buffer);
  const grey = data.volume.slices ? new Uint8Array(depth * height * width) : null;
  const ready = new Uint8Array(depth);
  const step = [height * width, width, 1];  // in the flat volume, along z, y, x
  // For each plane: the axes of its columns and rows; rows run downwards, heads are up.
  const planes = [[2, 1, false], [2, 0, true], [1, 0, true]].map(([column, row, flips], axis) => {
    const figure = find(`[data-plane="${axis}"]`);
    const canvas = find("canvas", figure), slider = find("input", figure), text = find("output", figure);
    const small = document.createElement("canvas");
    [small.width, small.height] = [shape[column], shape[row]];
    slider.max = shape[axis] - 1;
    slider.value = state.place[axis];
    return { axis, column, row, flips, figure, canvas, slider, text, small, under: -1 };
  });

  function cut(plane) {
    const [w, h] = [shape[plane.column], shape[plane.row]];
    const numbers = new Uint16Array(w * h), tones = new Uint8Array(w * h);
    const start = state.place[plane.axis] * step[plane.axis];
    for (let row = 0, i = 0; row < h; row++) {
      let at = start + (plane.flips ? h - 1 - row : row) * step[plane.row];
      for (let column = 0; column < w; column++, i++, at += step[plane.column]) {
        numbers[i] = labels[at];
        if (grey) tones[i] = grey[at];
      }
    }
    return { numbers, tones, w, h };
  }

  function draw(plane) {
    const scale = Math.min(window.devicePixelRatio || 1, 2);
    const size = [plane.canvas.clientWidth, plane.canvas.clientHeight].map((n) => Math.max(1, Math.round(n * scale)));
    if (plane.canvas.width !== size[0] || plane.canvas.height !== size[1]) [plane.canvas.width, plane.canvas.height] = size;
    const { numbers, tones, w, h } = cut(plane);
    plane.numbers = numbers;
    const gain = 0.6 + 1.334 * find("#contrast").value / 100, fills = find("#fill").checked || !grey;
    const soft = 59;  // 40 HU keep their tone
    const image = new ImageData(w, h), present = new Set();
    for (let i = 0; i < w * h; i++) {
      const number = numbers[i];
      const tone = grey ? (tones[i] - soft) * gain + soft : 0;
      let [r, g, b] = [tone, tone, tone];
      if (number && state.shown[number - 1]) {
        present.add(number);
        const strength = state.near === number - 1 || state.chosen.includes(number - 1) ? 0.4 : fills ? 0.28 : 0;
        if (strength) {
          const colour = fragments[number - 1].colour, more = grey ? strength : strength + 0.2;
          [r, g, b] = [r + (colour[0] - r) * more, g + (colour[1] - g) * more, b + (colour[2] - b) * more];
        }
      }
      image.data[4 * i] = r;
      image.data[4 * i + 1] = g;
      image.data[4 * i + 2] = b;
      image.data[4 * i + 3] = 255;
    }
    plane.small.getContext("2d").putImageData(image, 0, 0);
    const paper = plane.canvas.getContext("2d");
    paper.imageSmoothingEnabled = true;
    paper.imageSmoothingQuality = "high";
    paper.drawImage(plane.small, 0, 0, size[0], size[1]);
    const [sx, sy] = [size[0] / w, size[1] / h];
    if (find("#cross").checked) {
      const x = (state.place[plane.column] + 0.5) * sx;
      const y = ((plane.flips ? h - 1 - state.place[plane.row] : state.place[plane.row]) + 0.5) * sy;
      paper.strokeStyle = "rgba(255, 255, 255, 0.28)";
      paper.lineWidth = scale;
      paper.beginPath();
      for (const [a, b, c, d] of [[x, 0, x, y - 9 * scale], [x, y + 9 * scale, x, size[1]], [0, y, x - 9 * scale, y], [x + 9 * scale, y, size[0], y]]) {
        paper.moveTo(a, b);
        paper.lineTo(c, d);
      }
      paper.stroke();
    }
    if (find("#contours").checked) {
      paper.lineCap = "round";
      for (const number of [...present].sort((a, b) => a - b)) {
        const lines = outlineOf(numbers, w, h, number);
        const strong = state.near === number - 1 || state.chosen.includes(number - 1);
        paper.strokeStyle = `rgb(${fragments[number - 1].colour.join(",")})`;
        paper.lineWidth = (strong ? 2.8 : 1.7) * scale;
        paper.beginPath();
        for (let i = 0; i < lines.length; i += 4) {
          paper.moveTo(lines[i] * sx, lines[i + 1] * sy);
          paper.lineTo(lines[i + 2] * sx, lines[i + 3] * sy);
        }
        paper.stroke();
      }
    }
    plane.slider.value = state.place[plane.axis];
    tell(plane);
  }
  function tell(plane) {
    const name = plane.under > 0 ? ` · ${fragments[plane.under - 1].name}` : "";
    plane.text.textContent = `Slice ${state.place[plane.axis] + 1} of ${shape[plane.axis]}${name}`;
  }
  let awaited = false;
  function redraw() {
    if (awaited) return;
    awaited = true;
    requestAnimationFrame(() => {
      awaited = false;
      planes.forEach(draw);
    });
  }

  function voxelAt(plane, event) {
    const box = plane.canvas.getBoundingClientRect();
    const place = state.place.slice();
    const [w, h] = [shape[plane.column], shape[plane.row]];
    const inside = (part, count) => Math.min(count - 1, Math.max(0, Math.floor(part * count)));
    const row = inside((event.clientY - box.top) / box.height, h);
    place[plane.column] = inside((event.clientX - box.left) / box.width, w);
    place[plane.row] = plane.flips ? h - 1 - row : row;
    return place;
  }
  const labelAt = (place) => {
    const number = labels[place[0] * step[0] + place[1] * step[1] + place[2]];
    return number && state.shown[number - 1] ? number : 0;
  };
  function scroll(plane, by) {
    const place = state.place.slice();
    place[plane.axis] += by;
    setPlace(place);
  }
  for (const plane of planes) {
    find(".enlarge", plane.figure).addEventListener("click", (event) => {
      const large = plane.figure.classList.toggle("large");
      event.currentTarget.setAttribute("aria-pressed", String(large));
      redraw();
    });
    plane.slider.addEventListener("input", () => scroll(plane, Number(plane.slider.value) - state.place[plane.axis]));
    plane.canvas.addEventListener("pointermove", (event) => {
      const place = voxelAt(plane, event);
      plane.under = labelAt(place);
      if (event.pointerType === "mouse" && event.buttons & 1) setPlace(place);
      setNear(plane.under - 1);
      tell(plane);
    });
    plane.canvas.addEventListener("pointerleave", () => {
      plane.under = -1;
      setNear(-1);
      tell(plane);
    });
    plane.canvas.addEventListener("click", (event) => {
      const place = voxelAt(plane, event);
      plane.under = labelAt(place);
      setPlace(place);
    });
    plane.canvas.addEventListener("wheel", (event) => {  // a page is scrolled until a slice was clicked
      if (document.activeElement !== plane.canvas || event.ctrlKey) return;
      event.preventDefault();
      scroll(plane, event.deltaY > 0 ? 1 : -1);
    }, { passive: false });
    plane.canvas.addEventListener("keydown", (event) => {
      const by = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10 }[event.key];
      if (!by) return;
      event.preventDefault();
      scroll(plane, by);
    });
  }
  for (const id of ["#contours", "#fill", "#cross", "#contrast"]) find(id).addEventListener("input", redraw);
  listeners.push(redraw);
  addEventListener("resize", redraw);
  redraw();

  // The slices are decoded from the chosen place outwards, a few at a time.
  async function decode() {
    const order = [...Array(depth).keys()].sort((a, b) => Math.abs(a - state.place[0]) - Math.abs(b - state.place[0]));
    const paper = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    [paper.canvas.width, paper.canvas.height] = [width, height];
    for (let first = 0; first < depth; first += 8) {
      const images = await Promise.all(order.slice(first, first + 8).map(async (z) => {
        const image = new Image();
        image.src = "data:image/webp;base64," + data.volume.slices[z];
        await image.decode();
        return [z, image];
      }));
      for (const [z, image] of images) {
        paper.drawImage(image, 0, 0);
        const points = paper.getImageData(0, 0, width, height).data;
        for (let i = 0, at = z * step[0]; i < points.length; i += 4, at++) grey[at] = points[i];
        ready[z] = 1;
      }
      if (first === 0 || first % 64 === 0) redraw();
    }
    data.volume.slices = null;
    redraw();
    document.documentElement.dataset.slices = "ready";
  }
  if (grey) await decode();
  else document.documentElement.dataset.slices = "ready";

  // A voxel well inside a fragment: the middle of the slice in which it is largest.
  return function middleOf(index) {
    const areas = new Float64Array(depth);
    for (let i = 0; i < labels.length; i++) if (labels[i] === index + 1) areas[Math.floor(i / step[0])]++;
    const z = areas.indexOf(Math.max(...areas));
    if (!areas[z]) return null;
    const own = [];
    for (let i = 0; i < step[0]; i++) if (labels[z * step[0] + i] === index + 1) own.push([Math.floor(i / width), i % width]);
    const mean = [0, 1].map((k) => own.reduce((sum, p) => sum + p[k], 0) / own.length);
    own.sort((a, b) => Math.hypot(a[0] - mean[0], a[1] - mean[1]) - Math.hypot(b[0] - mean[0], b[1] - mean[1]));
    return [z, own[0][0], own[0][1]];
  };
}
