// A map as lines of equal value.

/**
 * Lines of a map of columns x rows values, each {path, colour}: at `threshold` where there is one, else at quarters of
 * `range`. `mode` says what of the values is shown (signed, positive, absolute), `table` names the colours.
 */
function contourLines(values, columns, rows, mode, threshold, range, table) {
  const sizes = threshold > 0 ? [threshold] : [0.25, 0.5, 0.75].map((part) => part * range);
  const lines = [];
  for (const sign of mode === "signed" ? [1, -1] : [1]) {
    const field = mode === "absolute" ? values.map(Math.abs) : values.map((value) => sign * value);
    for (const size of sizes) {
      const t = Math.min(1, size / range);
      // Lines are thin, so even a low level takes a colour light enough to be seen.
      const shown = mode === "signed" ? 0.5 + sign * Math.max(0.3, t / 2) : Math.max(0.45, t);
      lines.push({ path: isoline(field, columns, rows, size), colour: colourAt(table, shown) });
    }
  }
  return lines;
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
