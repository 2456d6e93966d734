// Maps on a grid of their own: raw values in, coloured pixels of any plane and numbers out.

const UNKNOWN = -32768;
const MAP_SAMPLES = 256;

class VolumeMap {
  constructor(meta, buffer) {
    this.meta = meta;
    this.data = new Int16Array(buffer, NAME_BYTES);
    [this.depth, this.rows, this.columns] = meta.shape;
    this.toGrid = inverse(meta.grid_to_image);
    this.counts = null;
    this.fields = new Map();
    this.canvases = new Map();
    this.range = this.quantile("absolute", 0.995) || this.quantile("absolute", 1) || meta.scale;
  }

  mode(set) {
    return this.meta.signed ? set.values : "positive";
  }

  table(set) {
    return this.mode(set) === "signed" ? set.diverging : set.sequential;
  }

  /** Of the sizes of all known values, or of their positive part, from counts of the 65,536 numbers that can be sent. */
  quantile(mode, fraction) {
    if (!this.counts) {
      this.counts = new Uint32Array(65536);
      for (let i = 0; i < this.data.length; i += 1) this.counts[this.data[i] + 32768] += 1;
      this.known = this.data.length - this.counts[0];
    }
    let above = (1 - fraction) * this.known;
    for (let size = 32767; size > 0; size -= 1) {
      above -= this.counts[32768 + size] + (mode === "positive" ? 0 : this.counts[32768 - size]);
      if (above < 0) return size * this.meta.scale;
    }
    return 0;
  }

  gridPlace([x, y, z]) {
    return [0, 4, 8].map((row) => {
      const m = this.toGrid;
      return m[row] * x + m[row + 1] * y + m[row + 2] * z + m[row + 3];
    });
  }

  /** The raw value of the grid cell that holds a place of the volume; null outside the map or where not known. */
  valueAt(at) {
    const [c, r, s] = this.gridPlace(at).map(Math.round);
    if (c < 0 || r < 0 || s < 0 || c >= this.columns || r >= this.rows || s >= this.depth) return null;
    const sent = this.data[(s * this.rows + r) * this.columns + c];
    return sent === UNKNOWN ? null : sent * this.meta.scale;
  }

  /** Interpolated between the eight cells around; NaN where the nearest is not known. */
  sample(x, y, z) {
    const { columns, rows, depth, data } = this;
    if (x < -0.5 || y < -0.5 || z < -0.5 || x > columns - 0.5 || y > rows - 0.5 || z > depth - 0.5) return NaN;
    const px = x < 0 ? 0 : x > columns - 1 ? columns - 1 : x;
    const py = y < 0 ? 0 : y > rows - 1 ? rows - 1 : y;
    const pz = z < 0 ? 0 : z > depth - 1 ? depth - 1 : z;
    const [x0, y0, z0] = [Math.floor(px), Math.floor(py), Math.floor(pz)];
    const [fx, fy, fz] = [px - x0, py - y0, pz - z0];
    let sum = 0;
    let weight = 0;
    for (let k = 0; k < 2; k += 1) {
      const wz = k ? fz : 1 - fz;
      if (!wz) continue;
      for (let j = 0; j < 2; j += 1) {
        const wy = wz * (j ? fy : 1 - fy);
        if (!wy) continue;
        const row = ((z0 + k) * rows + y0 + j) * columns + x0;
        const left = data[row];
        if (left !== UNKNOWN) {
          sum += wy * (1 - fx) * left;
          weight += wy * (1 - fx);
        }
        if (fx) {
          const right = data[row + 1];
          if (right !== UNKNOWN) {
            sum += wy * fx * right;
            weight += wy * fx;
          }
        }
      }
    }
    return weight < 0.5 ? NaN : sum / weight;
  }

  /** Values of one plane, kept until another is asked for: `step` pixels of the picture for each. In sent numbers. */
  field(plane, index) {
    const kept = this.fields.get(plane.id);
    if (kept?.index === index && kept.plane === plane) return kept;
    const step = this.step(plane);
    const [columns, rows] = [Math.ceil(plane.width / step), Math.ceil(plane.height / step)];
    const values = kept?.values.length === columns * rows ? kept.values : new Float32Array(columns * rows);
    const at = (u, v) => this.gridPlace(plane.toVolume(u, v, [index, index, index]));
    // The centre of the first sample, and how the place on the grid moves from one to the next.
    const middle = (step - 1) / 2;
    const start = at(middle, middle);
    const across = at(middle + step, middle).map((value, axis) => value - start[axis]);
    const down = at(middle, middle + step).map((value, axis) => value - start[axis]);
    for (let v = 0, i = 0; v < rows; v += 1) {
      let [x, y, z] = start.map((value, axis) => value + v * down[axis]);
      for (let u = 0; u < columns; u += 1, i += 1, x += across[0], y += across[1], z += across[2]) {
        values[i] = this.sample(x, y, z);
      }
    }
    const field = { index, plane, step, columns, rows, values, shown: "" };
    this.fields.set(plane.id, field);
    return field;
  }

  /** Pixels of a plane for each sample: two samples to a cell of the map where it is coarse, and not too many in all. */
  step(plane) {
    const m = this.toGrid;
    const cells = (axis) => Math.max(...[0, 4, 8].map((row) => Math.abs(m[row + axis])));
    const half = Math.floor(0.5 / Math.max(cells(plane.across[0]), cells(plane.down[0])));
    return Math.max(1, half, Math.ceil(Math.max(plane.width, plane.height) / MAP_SAMPLES));
  }

  /** Colours a field anew, or finds its lines, if the settings ask for it. */
  refresh(field, set) {
    const mode = this.mode(set);
    const key = [mode, this.table(set), set.top, set.style].join();
    if (field.shown === key) return;
    field.shown = key;
    const threshold = (set.top < 100 ? this.quantile(mode, 1 - set.top / 100) : 0) / this.meta.scale;
    const range = this.range / this.meta.scale;
    if (set.style === "contour") {
      const known = field.values.map((value) => (Number.isNaN(value) ? 0 : value));
      field.lines = contourLines(known, field.columns, field.rows, mode, threshold, range, this.table(set));
    } else {
      this.paint(field, mode, threshold, range, packedColours(this.table(set), mode === "signed", set.top < 100 ? 0.5 : 0));
    }
  }

  paint({ plane, columns, rows, values }, mode, threshold, range, colours) {
    const kept = this.canvases.get(plane.id);
    const fits = kept?.canvas.width === columns && kept.canvas.height === rows;
    const { canvas, pixels } = fits ? kept : { canvas: document.createElement("canvas"), pixels: new ImageData(columns, rows) };
    if (!fits) Object.assign(canvas, { width: columns, height: rows });
    this.canvases.set(plane.id, { canvas, pixels });
    const out = new Uint32Array(pixels.data.buffer).fill(0);
    for (let i = 0; i < out.length; i += 1) {
      const value = mode === "absolute" ? Math.abs(values[i]) : values[i];
      const size = mode === "signed" ? Math.abs(value) : value;
      if (!(size > 0) || size < threshold) continue;
      const level = Math.min(255, Math.round((255 * size) / range));
      out[i] = colours[value < 0 ? 255 - level : 256 + level];
    }
    canvas.getContext("2d").putImageData(pixels, 0, 0);
  }

  draw(context, plane, index, place, set, pixel) {
    const field = this.field(plane, index);
    this.refresh(field, set);
    const matrix = new DOMMatrix([field.step * place.sx, 0, 0, field.step * place.sy, place.left, place.top]);
    context.save();
    context.beginPath();
    context.rect(place.left, place.top, plane.width * place.sx, plane.height * place.sy);
    context.clip();
    if (set.style === "contour") {
      // Thin lines hide little, so they stay clearer than a surface of the same opacity.
      context.globalAlpha = Math.sqrt(set.opacity / 100);
      for (const { path, colour } of field.lines) strokeOutline(context, path, matrix, colour, pixel);
    } else {
      context.globalAlpha = set.opacity / 100;
      context.imageSmoothingEnabled = true;
      context.setTransform(matrix);
      context.drawImage(this.canvases.get(plane.id).canvas, 0, 0);
    }
    context.restore();
  }
}

/** The inverse of a 3 x 4 matrix with an unwritten last row (0 0 0 1). */
function inverse(m) {
  const minor = (a, b, c, d) => m[a] * m[d] - m[b] * m[c];
  const rows = [
    [minor(5, 6, 9, 10), -minor(1, 2, 9, 10), minor(1, 2, 5, 6)],
    [-minor(4, 6, 8, 10), minor(0, 2, 8, 10), -minor(0, 2, 4, 6)],
    [minor(4, 5, 8, 9), -minor(0, 1, 8, 9), minor(0, 1, 4, 5)],
  ];
  const det = m[0] * rows[0][0] + m[1] * rows[1][0] + m[2] * rows[2][0];
  return rows.flatMap(([a, b, c]) => [a / det, b / det, c / det, -(a * m[3] + b * m[7] + c * m[11]) / det]);
}
