// A region as Python sends it, first, length, first, length ... of its runs, and as it is drawn: one byte a pixel.

function fromRuns(runs, size) {
  const mask = new Uint8Array(size);
  for (let index = 0; index + 1 < runs.length; index += 2) mask.fill(1, runs[index], runs[index] + runs[index + 1]);
  return mask;
}

function toRuns(mask) {
  const runs = [];
  let first = -1;
  for (let index = 0; index <= mask.length; index += 1) {
    const inside = index < mask.length && mask[index];
    if (inside && first < 0) first = index;
    if (!inside && first >= 0) {
      runs.push(first, index - first);
      first = -1;
    }
  }
  return runs;
}
