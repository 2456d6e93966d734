// Outlines of reference masks and boxes and of masks that a model found, and the marks that tell a reader size and side.

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
    const { factor } = this.meta;
    const first = slice * rows * columns;
    const set = (column, row) => {
      if (column < 0 || row < 0 || column >= columns || row >= rows) return 0;
      const at = first + row * columns + column;
      return (this.bits[at >> 3] >> (7 - (at & 7))) & 1;
    };
    // Edges between a pixel inside and one outside, from corner to corner with the inside on the right.
    const next = new Map();
    const edge = (from, to) => (next.has(from) ? next.get(from).push(to) : next.set(from, [to]));
    const below = columns + 1;
    for (let row = 0; row < rows; row += 1) {
      for (let column = 0; column < columns; column += 1) {
        if (!set(column, row)) continue;
        const corner = row * below + column;
        if (!set(column, row - 1)) edge(corner, corner + 1);
        if (!set(column + 1, row)) edge(corner + 1, corner + 1 + below);
        if (!set(column, row + 1)) edge(corner + 1 + below, corner + below);
        if (!set(column - 1, row)) edge(corner + below, corner);
      }
    }
    const place = (corner) => [(corner % below) * factor, Math.floor(corner / below) * factor];
    const path = new Path2D();
    let label = null;
    // Closed lines, so that dashes run on around corners. As many edges leave a corner as reach it.
    for (const [start, ends] of next) {
      while (ends.length) {
        label ??= place(start);
        path.moveTo(...place(start));
        let at = start;
        do {
          const to = next.get(at).pop();
          const goesOn = to !== start && next.get(to).length === 1 && next.get(to)[0] - to === to - at;
          if (!goesOn) path.lineTo(...place(to));
          at = to;
        } while (at !== start);
        path.closePath();
      }
    }
    return label && { path, label };
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

// The page's own font, taken over by the viewer once it is mounted: a canvas does not inherit one.
let markFont = "system-ui, sans-serif";

function drawText(context, text, x, y, colour, pixel, align = "left") {
  context.font = `600 ${11 * pixel}px ${markFont}`;
  context.textAlign = align;
  context.textBaseline = "alphabetic";
  context.lineJoin = "round";
  context.lineWidth = 3 * pixel;
  context.strokeStyle = "rgba(0, 0, 0, 0.75)";
  context.strokeText(text, x, y);
  context.fillStyle = colour;
  context.fillText(text, x, y);
}

const SIDES = [
  ["L", "R"],
  ["P", "A"],
  ["S", "I"],
];

/** The one or two letters of a direction in patient coordinates (LPS), the strongest first: "L", "PS". */
function sideOf(direction) {
  const length = Math.hypot(...direction);
  return direction
    .map((part, axis) => ({ size: Math.abs(part) / length, letter: SIDES[axis][part > 0 ? 0 : 1] }))
    .filter(({ size }) => size > 0.35)
    .sort((one, other) => other.size - one.size)
    .slice(0, 2)
    .map(({ letter }) => letter)
    .join("");
}

const COLOUR_OF_MARKS = "#d7e0e3";

/** Letters at the edges that say where left, right, front, back, head and feet are. */
function drawSides(context, picture, width, height, pixel) {
  const { affine, frame } = picture.meta;
  if (!affine || frame !== "patient") return;
  const along = (axis, sign) => sideOf([0, 1, 2].map((row) => sign * affine[4 * row + axis]));
  const inset = 8 * pixel;
  const text = (label, x, y, align) => drawText(context, label, x, y, COLOUR_OF_MARKS, pixel, align);
  text(along(0, -1), inset, height / 2 + 4 * pixel, "left");
  text(along(0, 1), width - inset, height / 2 + 4 * pixel, "right");
  text(along(1, -1), width / 2, 16 * pixel, "center");
  text(along(1, 1), width / 2, height - inset, "center");
}

/** A bar of a round number of millimetres, at most a third of the width. */
function drawScaleBar(context, picture, place, width, height, pixel) {
  if (!picture.meta.affine) return;
  const perMm = place.sx / picture.meta.spacing[0];
  const room = width / 3 / perMm;
  const power = 10 ** Math.floor(Math.log10(room));
  const length = [5, 2, 1].find((step) => step * power <= room) * power;
  const [left, bottom] = [10 * pixel, height - 12 * pixel];
  context.save();
  context.setTransform(1, 0, 0, 1, 0, 0);
  for (const [colour, thick] of [
    ["rgba(0, 0, 0, 0.75)", 4],
    [COLOUR_OF_MARKS, 2],
  ]) {
    context.strokeStyle = colour;
    context.lineWidth = thick * pixel;
    context.beginPath();
    context.moveTo(left, bottom);
    context.lineTo(left + length * perMm, bottom);
    context.stroke();
  }
  const label = length >= 10 ? `${length / 10} cm` : `${length} mm`;
  drawText(context, label, left, bottom - 6 * pixel, COLOUR_OF_MARKS, pixel);
  context.restore();
}
