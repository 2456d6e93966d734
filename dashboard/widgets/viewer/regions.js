// Outlines of reference masks and boxes and of masks that a model found.

const REGION_COLOURS = ["#5ad1e6", "#c9f25c", "#ff9ec4", "#ffd166"];
const FOUND_COLOUR = "#ffffff";
const FOUND_DASH = [5, 4];

/** A mask or a box; `path(slice)` is its outline in image coordinates where pixel i covers [i, i + 1]. */
class Outline {
  constructor(meta, buffer, index) {
    this.meta = meta;
    this.bits = buffer ? new Uint8Array(buffer) : null;
    this.colour = meta.found ? FOUND_COLOUR : REGION_COLOURS[index % REGION_COLOURS.length];
    this.paths = new Map();
  }

  path(slice, mapSlice, depth) {
    // A box or a plane mask has no slice of its own: in a volume it lies on the slice that is explained.
    const plane = !this.bits || this.meta.shape[0] === 1;
    if (plane && depth > 1 && slice !== mapSlice) return null;
    if (!this.bits) {
      const [left, top, right, bottom] = this.meta.box;
      const path = new Path2D();
      path.rect(left, top, right - left, bottom - top);
      return { path, label: [left, top] };
    }
    const stored = plane ? 0 : slice;
    if (!this.paths.has(stored)) this.paths.set(stored, this.trace(stored));
    return this.paths.get(stored);
  }

  trace(slice) {
    const [, rows, columns] = this.meta.shape;
    const first = slice * rows * columns;
    const mask = paddedMask(columns, rows);
    for (let row = 0, bit = first; row < rows; row += 1) {
      for (let column = 0, at = (row + 1) * (columns + 2) + 1; column < columns; column += 1, at += 1, bit += 1) {
        mask.bytes[at] = (this.bits[bit >> 3] >> (7 - (bit & 7))) & 1;
      }
    }
    return traceMask(mask, this.meta.factor);
  }

  draw(context, place, slice, mapSlice, depth, pixel) {
    const outline = this.path(slice, mapSlice, depth);
    if (!outline) return;
    const matrix = new DOMMatrix([place.sx, 0, 0, place.sy, place.left, place.top]);
    context.save();
    strokeOutline(context, outline.path, matrix, this.colour, pixel, this.meta.found ? FOUND_DASH : []);
    context.restore();
  }

  /** Its name above it; `named` holds the places of the names on this picture so far. */
  write(context, place, slice, mapSlice, depth, pixel, named) {
    const outline = this.path(slice, mapSlice, depth);
    if (!outline) return;
    const [x, top] = [outline.label[0] * place.sx + place.left, outline.label[1] * place.sy + place.top];
    const { name } = this.meta;
    const y = freeLine(named, x, Math.max(13 * pixel, top - 5 * pixel), 6.5 * pixel * name.length, 13 * pixel);
    context.save();
    context.setTransform(1, 0, 0, 1, 0, 0);
    drawText(context, name, x, y, this.colour, pixel);
    context.restore();
  }
}

/** The first line at or below `y` where a name of this width covers no other. */
function freeLine(named, x, y, width, height) {
  const covers = (other) =>
    Math.abs(other.y - y) < height && x < other.x + other.width && other.x < x + width;
  while (named.some(covers)) y += height;
  named.push({ x, y, width });
  return y;
}
