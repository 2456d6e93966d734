// The marks that tell a reader size and side.

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

/** Letters at the edges that say where left, right, front, back, head and feet are; `aside` of the middle lines. */
function drawSides(context, picture, width, height, pixel, aside = 0) {
  const { affine, frame } = picture.meta;
  if (!affine || frame !== "patient") return;
  const along = (axis, sign) => sideOf([0, 1, 2].map((row) => sign * affine[4 * row + axis]));
  const inset = 8 * pixel;
  const text = (label, x, y, align) => drawText(context, label, x, y, COLOUR_OF_MARKS, pixel, align);
  text(along(0, -1), inset, height / 2 + (4 - aside) * pixel, "left");
  text(along(0, 1), width - inset, height / 2 + (4 - aside) * pixel, "right");
  text(along(1, -1), width / 2 + aside * pixel, 16 * pixel, "center");
  text(along(1, 1), width / 2 + aside * pixel, height - inset, "center");
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
