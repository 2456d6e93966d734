// The image: typed arrays in, windowed pixels out.

/** The image as it was sent, with half-size copies of the slice in view for quick drawing when it is shown small. */
class Picture {
  constructor(meta, buffer) {
    this.meta = meta;
    [this.depth, this.rows, this.columns] = meta.shape;
    this.channels = meta.channels;
    this.data = meta.dtype === "u1" ? new Uint8Array(buffer) : new Int16Array(buffer);
    this.levels = [];
    this.levelSlice = -1;
    this.windowed = new WindowTable();
    const smallest = Math.min(...meta.spacing);
    this.aspect = meta.spacing.map((mm) => mm / smallest);
    [this.width, this.height] = meta.size;
  }

  /** Sent values of one slice at 1 / 2^power of the sent size: {data, columns, rows, pixel}; pixel in image pixels. */
  level(slice, power) {
    if (this.levelSlice !== slice) {
      const count = this.rows * this.columns * this.channels;
      const data = this.data.subarray(slice * count, (slice + 1) * count);
      this.levels = [{ data, columns: this.columns, rows: this.rows, pixel: this.meta.factor }];
      this.levelSlice = slice;
    }
    while (this.levels.length <= power) this.levels.push(halve(this.levels[this.levels.length - 1], this.channels));
    return this.levels[power];
  }

  /** The value at an image pixel of a slice: one number, or three for colour; null outside. */
  valueAt(column, row, slice) {
    if (column < 0 || row < 0 || column >= this.width || row >= this.height) return null;
    const { factor, scale, offset } = this.meta;
    const at = (slice * this.rows + Math.floor(row / factor)) * this.columns + Math.floor(column / factor);
    const values = [];
    for (let c = 0; c < this.channels; c += 1) values.push(this.data[at * this.channels + c] * scale + offset);
    return values;
  }

  table(window) {
    return this.windowed.table(this.meta, window);
  }
}

function halve({ data, columns, rows, pixel }, channels) {
  const half = [Math.ceil(columns / 2), Math.ceil(rows / 2)];
  const out = new data.constructor(half[0] * half[1] * channels);
  let at = 0;
  for (let y = 0; y < half[1]; y += 1) {
    const top = 2 * y * columns;
    const bottom = Math.min(2 * y + 1, rows - 1) * columns;
    for (let x = 0; x < half[0]; x += 1) {
      const left = 2 * x;
      const right = Math.min(left + 1, columns - 1);
      for (let c = 0; c < channels; c += 1, at += 1) {
        const sum =
          data[(top + left) * channels + c] +
          data[(top + right) * channels + c] +
          data[(bottom + left) * channels + c] +
          data[(bottom + right) * channels + c];
        out[at] = Math.round(sum / 4);
      }
    }
  }
  return { data: out, columns: half[0], rows: half[1], pixel: 2 * pixel };
}

const scratch = document.createElement("canvas");

/** Draws the visible part of the image; `place` is a placement() in the pixels of the canvas. */
function drawBase(context, picture, slice, window, place) {
  let power = 0;
  const smallest = Math.min(picture.rows, picture.columns);
  while (
    picture.meta.factor * 2 ** (power + 1) * Math.max(place.sx, place.sy) <= 1 &&
    smallest >> (power + 1) >= 32
  ) {
    power += 1;
  }
  const { data, columns, rows, pixel } = picture.level(slice, power);
  const [stepX, stepY] = [pixel * place.sx, pixel * place.sy];
  // One pixel more than is visible, so that smoothing at the rim sees its neighbours.
  const x0 = Math.max(0, Math.floor(-place.left / stepX) - 1);
  const y0 = Math.max(0, Math.floor(-place.top / stepY) - 1);
  const x1 = Math.min(columns, Math.ceil((place.width - place.left) / stepX) + 1);
  const y1 = Math.min(rows, Math.ceil((place.height - place.top) / stepY) + 1);
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = "#000";
  context.fillRect(0, 0, place.width, place.height);
  if (x1 <= x0 || y1 <= y0) return;
  const pixels = new ImageData(x1 - x0, y1 - y0);
  const packed = new Uint32Array(pixels.data.buffer);
  const table = picture.table(window);
  let at = 0;
  for (let y = y0; y < y1; y += 1) {
    let from = (y * columns + x0) * picture.channels;
    if (picture.channels === 1) {
      for (let x = x0; x < x1; x += 1, at += 1, from += 1) packed[at] = table[data[from] + 32768];
    } else {
      for (let x = x0; x < x1; x += 1, at += 1, from += 3) {
        packed[at] =
          (255 << 24) | (table[data[from + 2]] << 16) | (table[data[from + 1]] << 8) | table[data[from]];
      }
    }
  }
  scratch.width = pixels.width;
  scratch.height = pixels.height;
  scratch.getContext("2d").putImageData(pixels, 0, 0);
  context.save();
  context.beginPath();
  context.rect(place.left, place.top, picture.width * place.sx, picture.height * place.sy);
  context.clip();
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.setTransform(stepX, 0, 0, stepY, place.left, place.top);
  context.drawImage(scratch, x0, y0);
  context.restore();
}
