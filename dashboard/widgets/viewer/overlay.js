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
      const { values, columns, rows, range } = this;
      this.contours = contourLines(values, columns, rows, mode, threshold, range, this.table(set));
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
