// A map: raw values in, coloured pixels, contours and numbers out.

/** Display settings that change what a map's pixels look like. */
const overlayKey = (set) => [set.values, set.diverging, set.sequential, set.top, set.style].join("|");

class Overlay {
  constructor(meta, buffer, picture) {
    this.meta = meta;
    [this.rows, this.columns] = meta.shape;
    this.values = new Float32Array(buffer);
    const [a, b, c, d, e, f] = meta.grid_to_image;
    this.toImage = [a, b, c, d, e, f];
    const det = a * e - b * d;
    this.toGrid = [e / det, -b / det, (b * f - e * c) / det, -d / det, a / det, (d * c - a * f) / det];
    this.inside = this.findInside(picture);
    this.sorted = new Map();
    this.canvas = document.createElement("canvas");
    this.key = "";
    this.contours = [];
    this.range = meta.range ?? this.quantile("absolute", 0.995);
    if (!(this.range > 0)) this.range = this.quantile("absolute", 1) || 1;
  }

  /** Grid cells whose centre lies on the image; the rest is padding that the model saw but the reader does not. */
  findInside(picture) {
    const [a, b, c, d, e, f] = this.toImage;
    const inside = new Uint8Array(this.values.length);
    for (let row = 0, at = 0; row < this.rows; row += 1) {
      for (let column = 0; column < this.columns; column += 1, at += 1) {
        const x = a * column + b * row + c;
        const y = d * column + e * row + f;
        inside[at] = x >= -0.5 && y >= -0.5 && x < picture.width - 0.5 && y < picture.height - 0.5 ? 1 : 0;
      }
    }
    return inside;
  }

  /** What is shown of a signed map: all of it, its positive part, or its size. */
  mode(set) {
    return this.meta.signed ? set.values : "positive";
  }

  table(set) {
    return this.mode(set) === "signed" ? set.diverging : set.sequential;
  }

  quantile(mode, fraction) {
    const part = mode === "positive" ? "positive" : "absolute";
    if (!this.sorted.has(part)) {
      const kept = new Float32Array(this.values.length);
      let count = 0;
      for (let i = 0; i < this.values.length; i += 1) {
        if (!this.inside[i]) continue;
        kept[count] = part === "positive" ? Math.max(0, this.values[i]) : Math.abs(this.values[i]);
        count += 1;
      }
      this.sorted.set(part, kept.subarray(0, count).sort());
    }
    const sorted = this.sorted.get(part);
    return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(fraction * sorted.length))] : 0;
  }

  /** The raw value of the grid cell that holds an image position; null outside the map. */
  valueAt(x, y) {
    const [a, b, c, d, e, f] = this.toGrid;
    const column = Math.round(a * x + b * y + c);
    const row = Math.round(d * x + e * y + f);
    if (column < 0 || row < 0 || column >= this.columns || row >= this.rows) return null;
    return this.values[row * this.columns + column];
  }

  /** Colours anew what is drawn, if the settings ask for it. */
  refresh(set) {
    const key = overlayKey(set);
    if (key === this.key) return;
    this.key = key;
    const mode = this.mode(set);
    const threshold = set.top < 100 ? this.quantile(mode, 1 - set.top / 100) : 0;
    if (set.style === "contour") {
      this.contours = this.findContours(set, mode, threshold);
    } else {
      this.paint(set, mode, threshold);
    }
  }

  paint(set, mode, threshold) {
    const table = packedColours(this.table(set), mode === "signed", set.top < 100 ? 0.5 : 0);
    const pixels = new ImageData(this.columns, this.rows);
    const out = new Uint32Array(pixels.data.buffer);
    const { values, inside } = this;
    const steps = 255 / this.range;
    for (let i = 0; i < out.length; i += 1) {
      const value = mode === "absolute" ? Math.abs(values[i]) : values[i];
      const size = mode === "signed" ? Math.abs(value) : value;
      if (!(size > 0) || size < threshold || !inside[i]) continue;
      const step = Math.min(255, Math.round(size * steps));
      out[i] = table[value < 0 ? 255 - step : 256 + step];
    }
    this.canvas.width = this.columns;
    this.canvas.height = this.rows;
    this.canvas.getContext("2d").putImageData(pixels, 0, 0);
  }

  findContours(set, mode, threshold) {
    const sizes = set.top < 100 ? [threshold] : [0.25, 0.5, 0.75].map((part) => part * this.range);
    const lines = [];
    for (const sign of mode === "signed" ? [1, -1] : [1]) {
      const field = mode === "absolute" ? this.values.map(Math.abs) : this.values.map((value) => sign * value);
      for (const size of sizes) {
        if (!(size > 0)) continue;
        const t = Math.min(1, size / this.range);
        // Lines are thin, so even a low level takes a colour light enough to be seen.
        const shown = mode === "signed" ? 0.5 + sign * Math.max(0.3, t / 2) : Math.max(0.45, t);
        const path = isoline(field, this.columns, this.rows, size);
        lines.push({ path, colour: colourAt(this.table(set), shown) });
      }
    }
    return lines;
  }

  /** Draws into a canvas on which the image lies at `place`; `pixel` is the size of a CSS pixel. */
  draw(context, picture, place, set, pixel) {
    this.refresh(set);
    const [a, b, c, d, e, f] = this.toImage;
    // Canvas coordinates put pixel centres at half numbers, on the grid and on the image alike.
    const [u, v] = [c + 0.5 - (a + b) / 2, f + 0.5 - (d + e) / 2];
    const matrix = new DOMMatrix([
      a * place.sx,
      d * place.sy,
      b * place.sx,
      e * place.sy,
      u * place.sx + place.left,
      v * place.sy + place.top,
    ]);
    context.save();
    context.beginPath();
    context.rect(place.left, place.top, picture.width * place.sx, picture.height * place.sy);
    context.clip();
    context.globalAlpha = set.opacity / 100;
    if (set.style === "contour") {
      // Thin lines hide little, so they stay clearer than a surface of the same opacity.
      context.globalAlpha = Math.sqrt(set.opacity / 100);
      for (const { path, colour } of this.contours) strokeOutline(context, path, matrix, colour, pixel);
    } else {
      context.imageSmoothingEnabled = true;
      context.setTransform(matrix);
      context.drawImage(this.canvas, 0, 0);
    }
    context.restore();
  }
}

// Marching squares: which edges of a cell (0 top, 1 right, 2 bottom, 3 left) a line joins, by the corners above the level.
const CELL_LINES = [
  [],
  [[3, 0]],
  [[0, 1]],
  [[3, 1]],
  [[1, 2]],
  [
    [3, 0],
    [1, 2],
  ],
  [[0, 2]],
  [[3, 2]],
  [[2, 3]],
  [[2, 0]],
  [
    [0, 1],
    [2, 3],
  ],
  [[2, 1]],
  [[1, 3]],
  [[1, 0]],
  [[0, 3]],
  [],
];

/** Path2D where a field crosses a level, in canvas coordinates of its grid (pixel centres at half numbers). */
function isoline(field, columns, rows, level) {
  const path = new Path2D();
  const part = (from, to) => (level - from) / (to - from);
  for (let y = 0; y + 1 < rows; y += 1) {
    for (let x = 0; x + 1 < columns; x += 1) {
      const at = y * columns + x;
      const [tl, tr, br, bl] = [field[at], field[at + 1], field[at + columns + 1], field[at + columns]];
      const corners = (tl >= level) | ((tr >= level) << 1) | ((br >= level) << 2) | ((bl >= level) << 3);
      for (const ends of CELL_LINES[corners]) {
        const points = ends.map((edge) => {
          if (edge === 0) return [x + part(tl, tr), y];
          if (edge === 1) return [x + 1, y + part(tr, br)];
          if (edge === 2) return [x + part(bl, br), y + 1];
          return [x, y + part(tl, bl)];
        });
        path.moveTo(points[0][0] + 0.5, points[0][1] + 0.5);
        path.lineTo(points[1][0] + 0.5, points[1][1] + 0.5);
      }
    }
  }
  return path;
}
