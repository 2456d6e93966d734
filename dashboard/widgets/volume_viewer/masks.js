// Masks, one bit a voxel, as outlines in any of the three planes.

const MASK_COLOURS = ["#5ad1e6", "#ffd166", "#c9f25c", "#ff9ec4", "#ffffff"];
const MASK_DASHES = [[], [6, 4], [2, 3], [9, 3, 2, 3]];
const KEPT_PATHS = 48;

class Mask {
  constructor(meta, buffer) {
    this.meta = meta;
    this.bits = new Uint8Array(buffer, NAME_BYTES);
    [this.depth, this.rows, this.columns] = meta.shape;
    this.paths = new Map();
    this.number = 0;
  }

  get colour() {
    return MASK_COLOURS[this.number % MASK_COLOURS.length];
  }

  /** Told apart by their dashes too, not by colour alone. */
  get dash() {
    return MASK_DASHES[this.number % MASK_DASHES.length];
  }

  contains(at) {
    const [c, r, s] = at.map((place, axis) => place - this.meta.first[axis]);
    if (c < 0 || r < 0 || s < 0 || c >= this.columns || r >= this.rows || s >= this.depth) return false;
    const bit = (s * this.rows + r) * this.columns + c;
    return Boolean((this.bits[bit >> 3] >> (7 - (bit & 7))) & 1);
  }

  /** {path, left, top}: the outline in pixels of the picture, of the box that holds the mask; null without one. */
  outline(plane, index) {
    const key = `${plane.id}${index}`;
    let found = this.paths.get(key);
    if (found === undefined) {
      found = this.trace(plane, index - this.meta.first[plane.through]);
      if (this.paths.size >= KEPT_PATHS) this.paths.delete(this.paths.keys().next().value);
      this.paths.set(key, found);
    }
    return found;
  }

  trace(plane, index) {
    const shape = [this.columns, this.rows, this.depth];
    if (index < 0 || index >= shape[plane.through]) return null;
    const strides = [1, this.columns, this.columns * this.rows];
    const [[a, right], [d, down]] = [plane.across, plane.down];
    const [width, height] = [shape[a], shape[d]];
    const du = right > 0 ? strides[a] : -strides[a];
    const dv = down > 0 ? strides[d] : -strides[d];
    const corner =
      index * strides[plane.through] +
      (right > 0 ? 0 : (width - 1) * strides[a]) +
      (down > 0 ? 0 : (height - 1) * strides[d]);
    const mask = paddedMask(width, height);
    for (let v = 0; v < height; v += 1) {
      let bit = corner + v * dv;
      for (let u = 0, at = (v + 1) * (width + 2) + 1; u < width; u += 1, at += 1, bit += du) {
        mask.bytes[at] = (this.bits[bit >> 3] >> (7 - (bit & 7))) & 1;
      }
    }
    const traced = traceMask(mask);
    if (!traced) return null;
    const { first } = this.meta;
    const left = right > 0 ? first[a] : plane.width - first[a] - width;
    const top = down > 0 ? first[d] : plane.height - first[d] - height;
    return { path: traced.path, left, top };
  }

  draw(context, plane, index, place, pixel) {
    const outline = this.outline(plane, index);
    if (!outline) return;
    const { sx, sy } = place;
    const matrix = new DOMMatrix([sx, 0, 0, sy, place.left + outline.left * sx, place.top + outline.top * sy]);
    context.save();
    strokeOutline(context, outline.path, matrix, this.colour, pixel, this.dash);
    context.restore();
  }
}
