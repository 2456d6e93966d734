// The outline of a mask: traced once, stroked at any size.

/** Room for a mask of columns x rows pixels with a rim of one empty pixel around it. */
function paddedMask(columns, rows) {
  return { bytes: new Uint8Array((columns + 2) * (rows + 2)), columns, rows };
}

/**
 * The outline of a padded mask: {path, label}, or null for an empty one. `path` is a Path2D in image coordinates where
 * pixel i covers [i, i + 1] times `factor`; `label` a corner of it.
 */
function traceMask({ bytes, columns, rows }, factor = 1) {
  const wide = columns + 2;
  // Edges between a pixel inside and one outside, from corner to corner with the inside on the right.
  const next = new Map();
  const edge = (from, to) => (next.has(from) ? next.get(from).push(to) : next.set(from, [to]));
  const below = columns + 1;
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0, at = (row + 1) * wide + 1; column < columns; column += 1, at += 1) {
      if (!bytes[at]) continue;
      const corner = row * below + column;
      if (!bytes[at - wide]) edge(corner, corner + 1);
      if (!bytes[at + 1]) edge(corner + 1, corner + 1 + below);
      if (!bytes[at + wide]) edge(corner + 1 + below, corner + below);
      if (!bytes[at - 1]) edge(corner + below, corner);
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
      let here = start;
      do {
        const to = next.get(here).pop();
        const goesOn = to !== start && next.get(to).length === 1 && next.get(to)[0] - to === to - here;
        if (!goesOn) path.lineTo(...place(to));
        here = to;
      } while (here !== start);
      path.closePath();
    }
  }
  return label && { path, label };
}

/** A line of constant width on the screen, with a dark rim that keeps it visible on bone. */
function strokeOutline(context, path, matrix, colour, pixel, dash = []) {
  const onScreen = new Path2D();
  onScreen.addPath(path, matrix);
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.lineJoin = "round";
  context.strokeStyle = "rgba(0, 0, 0, 0.6)";
  context.lineWidth = 3.5 * pixel;
  context.stroke(onScreen);
  context.strokeStyle = colour;
  context.lineWidth = 1.6 * pixel;
  context.setLineDash(dash.map((length) => length * pixel));
  context.stroke(onScreen);
  context.setLineDash([]);
}
