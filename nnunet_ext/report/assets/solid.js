// The surfaces of the fragments: unpacked, with normals and with hollows found, ready for the graphics card.
function unpackMeshes(bytes) {
  const { counts, low, step } = data.meshes;
  let at = 0;
  const planes = (count, width) => {  // all lowest bytes come first, then all second ones, and so on
    const values = new Uint32Array(count);
    for (let byte = 0; byte < width; byte++) {
      for (let i = 0; i < count; i++) values[i] |= bytes[at + i] << (8 * byte);
      at += count;
    }
    return values;
  };
  return counts.map(([vertexCount, faceCount]) => {
    const points = new Float32Array(3 * vertexCount);
    for (let axis = 0; axis < 3; axis++) {
      const moves = planes(vertexCount, 3);
      let value = 0;
      for (let i = 0; i < vertexCount; i++) {
        value += (moves[i] >>> 1) ^ -(moves[i] & 1);
        points[3 * i + axis] = low[axis] + step * value;
      }
    }
    const corners = new Uint32Array(3 * faceCount);
    const [first, second, third] = [planes(faceCount, 4), planes(faceCount, 4), planes(faceCount, 4)];
    let corner = 0;
    for (let i = 0; i < faceCount; i++) {
      corner += first[i];
      corners[3 * i] = corner;
      corners[3 * i + 1] = corner + second[i];
      corners[3 * i + 2] = corner + third[i];
    }
    return { points, corners };
  });
}

// Unit normals of vertices: the mean of the faces round them, by area.
function normalsOf({ points, corners }) {
  const normals = new Float32Array(points.length);
  for (let i = 0; i < corners.length; i += 3) {
    const [a, b, c] = [3 * corners[i], 3 * corners[i + 1], 3 * corners[i + 2]];
    const ux = points[b] - points[a], uy = points[b + 1] - points[a + 1], uz = points[b + 2] - points[a + 2];
    const vx = points[c] - points[a], vy = points[c + 1] - points[a + 1], vz = points[c + 2] - points[a + 2];
    const x = uy * vz - uz * vy, y = uz * vx - ux * vz, z = ux * vy - uy * vx;
    for (const k of [a, b, c]) {
      normals[k] += x;
      normals[k + 1] += y;
      normals[k + 2] += z;
    }
  }
  for (let i = 0; i < normals.length; i += 3) {
    const size = Math.hypot(normals[i], normals[i + 1], normals[i + 2]) || 1;
    for (let k = 0; k < 3; k++) normals[i + k] /= size;
  }
  return normals;
}

// How hollow the surface is at each vertex, -1 (an edge) to 1 (a groove): where the neighbours stand above it.
function hollowsOf({ points, corners }, normals) {
  const count = points.length / 3;
  const weight = new Float32Array(count);
  let hollow = new Float32Array(count);
  const edges = (visit) => {
    for (let i = 0; i < corners.length; i += 3) {
      for (let k = 0; k < 3; k++) visit(corners[i + k], corners[i + (k + 1) % 3]);
    }
  };
  edges((a, b) => {
    const dx = points[3 * b] - points[3 * a], dy = points[3 * b + 1] - points[3 * a + 1];
    const dz = points[3 * b + 2] - points[3 * a + 2];
    const size = Math.hypot(dx, dy, dz) || 1;
    hollow[a] += (dx * normals[3 * a] + dy * normals[3 * a + 1] + dz * normals[3 * a + 2]) / size;
    weight[a] += 1;
  });
  for (let i = 0; i < count; i++) hollow[i] = Math.max(-1, Math.min(1, 2.4 * hollow[i] / (weight[i] || 1)));
  for (let turn = 0; turn < 3; turn++) {
    const sum = new Float32Array(count);
    edges((a, b) => { sum[a] += hollow[b]; });
    hollow = hollow.map((value, i) => (value + sum[i]) / (1 + weight[i]));
  }
  return hollow;
}

// Vertices as the graphics card takes them: 3 floats, then 3 signed bytes of the normal and 1 of the hollow.
function buffersOf(mesh) {
  const normals = normalsOf(mesh), hollows = hollowsOf(mesh, normals);
  const count = mesh.points.length / 3;
  const bytes = new ArrayBuffer(16 * count);
  const floats = new Float32Array(bytes), signed = new Int8Array(bytes);
  for (let i = 0; i < count; i++) {
    for (let k = 0; k < 3; k++) {
      floats[4 * i + k] = mesh.points[3 * i + k];
      signed[16 * i + 12 + k] = Math.round(127 * normals[3 * i + k]);
    }
    signed[16 * i + 15] = Math.round(127 * hollows[i]);
  }
  return bytes;
}

// Lowest and highest corner, and some of the points, by which the view is fitted.
function extentOf(points) {
  const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity], some = [];
  const stride = 3 * Math.max(1, Math.floor(points.length / 3 / 250));
  for (let i = 0; i < points.length; i += 3) {
    for (let k = 0; k < 3; k++) {
      low[k] = Math.min(low[k], points[i + k]);
      high[k] = Math.max(high[k], points[i + k]);
    }
    if (i % stride === 0) some.push([points[i], points[i + 1], points[i + 2]]);
  }
  return { low, high, some };
}
