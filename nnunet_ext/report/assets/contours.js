// The outline of one fragment in a slice: marching squares over its mask, which is smoothed very little before.
function outlineOf(numbers, width, height, number) {
  let left = width, right = -1, top = height, bottom = -1;
  for (let row = 0, i = 0; row < height; row++) {
    for (let column = 0; column < width; column++, i++) {
      if (numbers[i] !== number) continue;
      if (column < left) left = column;
      if (column > right) right = column;
      if (row < top) top = row;
      bottom = row;
    }
  }
  const lines = [];
  if (right < 0) return lines;
  const w = right - left + 5, h = bottom - top + 5;  // two empty points round the mask
  const mask = new Float32Array(w * h), across = new Float32Array(w * h), soft = new Float32Array(w * h);
  for (let row = top; row <= bottom; row++) {
    for (let column = left; column <= right; column++) {
      if (numbers[row * width + column] === number) mask[(row - top + 2) * w + column - left + 2] = 1;
    }
  }
  // Weights 1, 6, 1: a single voxel stays above a half.
  for (let i = 1; i < w * h - 1; i++) across[i] = (mask[i - 1] + 6 * mask[i] + mask[i + 1]) / 8;
  for (let i = w; i < w * (h - 1); i++) soft[i] = (across[i - w] + 6 * across[i] + across[i + w]) / 8;
  const cut = (a, b) => (0.5 - a) / (b - a);
  for (let row = 0; row < h - 1; row++) {
    for (let column = 0; column < w - 1; column++) {
      const i = row * w + column;
      const a = soft[i], b = soft[i + 1], c = soft[i + w + 1], d = soft[i + w];
      const kind = (a > 0.5 ? 1 : 0) | (b > 0.5 ? 2 : 0) | (c > 0.5 ? 4 : 0) | (d > 0.5 ? 8 : 0);
      if (kind === 0 || kind === 15) continue;
      const x = column + left - 1.5, y = row + top - 1.5;
      const up = () => [x + cut(a, b), y], low = () => [x + cut(d, c), y + 1];
      const west = () => [x, y + cut(a, d)], east = () => [x + 1, y + cut(b, c)];
      const add = (p, q) => lines.push(p[0], p[1], q[0], q[1]);
      if (kind === 1 || kind === 14) add(west(), up());
      else if (kind === 2 || kind === 13) add(up(), east());
      else if (kind === 4 || kind === 11) add(east(), low());
      else if (kind === 8 || kind === 7) add(low(), west());
      else if (kind === 3 || kind === 12) add(west(), east());
      else if (kind === 6 || kind === 9) add(up(), low());
      else if (kind === 5) { add(west(), up()); add(east(), low()); }
      else { add(up(), east()); add(low(), west()); }
    }
  }
  return lines;
}
