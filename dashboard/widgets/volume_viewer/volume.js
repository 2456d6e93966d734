// The small copy of the volume, and how a plane or a slab is taken out of an array.

class Volume {
  constructor(meta, buffer) {
    this.meta = meta;
    this.data = typed(meta, buffer);
    this.shape = meta.size.map((length, axis) => Math.ceil(length / meta.factors[axis]));
    this.complete = meta.factors.every((factor) => factor === 1);
    this.windowed = new WindowTable();
  }

  /** Slices first to last (of full size) along a plane's axis, the largest or smallest value over them. */
  plane(plane, first, last, project) {
    const { factors } = this.meta;
    const [across, down, through] = [plane.across[0], plane.down[0], plane.through];
    const strides = [1, this.shape[0], this.shape[0] * this.shape[1]];
    const picture = emptyPicture(this.meta, this.shape[across], this.shape[down]);
    const [from, to] = [first, last].map((index) => Math.floor(index / factors[through]));
    gather(picture, this.data, strides, plane, from, to - from + 1, project, true);
    picture.pixel = [factors[across], factors[down]];
    // Blocks at the far rim may hold fewer voxels; turned round, they come first.
    const excess = (axis) => this.shape[axis] * factors[axis] - this.meta.size[axis];
    picture.shift = [plane.across[1] < 0 ? -excess(across) : 0, plane.down[1] < 0 ? -excess(down) : 0];
    return picture;
  }

  valueAt([column, row, slice]) {
    const [c, r, s] = [column, row, slice].map((place, axis) => Math.floor(place / this.meta.factors[axis]));
    return this.data[(s * this.shape[1] + r) * this.shape[0] + c] * this.meta.scale + this.meta.offset;
  }

  table(window) {
    return this.windowed.table(this.meta, window);
  }
}

/** The numbers behind the name. */
function typed(meta, buffer) {
  return meta.dtype === "u1" ? new Uint8Array(buffer, NAME_BYTES) : new Int16Array(buffer, NAME_BYTES);
}

/** Sent numbers of one picture: rows x columns, each standing for `pixel` voxels, the first at `shift`. */
function emptyPicture(meta, columns, rows) {
  const data = meta.dtype === "u1" ? new Uint8Array(columns * rows) : new Int16Array(columns * rows);
  return { data, columns, rows, pixel: [1, 1], shift: [0, 0] };
}

/**
 * Fills `picture` from `count` planes of `data`, the first being number `from` there. `strides` by index axis
 * (column, row, slice). With `fresh` false the picture holds the planes before.
 */
function gather(picture, data, strides, plane, from, count, project, fresh) {
  const { data: out, columns, rows } = picture;
  let [du, dv] = [strides[plane.across[0]], strides[plane.down[0]]];
  let corner = from * strides[plane.through];
  if (plane.across[1] < 0) {
    corner += (columns - 1) * du;
    du = -du;
  }
  if (plane.down[1] < 0) {
    corner += (rows - 1) * dv;
    dv = -dv;
  }
  for (let k = 0; k < count; k += 1, corner += strides[plane.through]) {
    const first = fresh && k === 0;
    for (let v = 0, at = 0; v < rows; v += 1) {
      let read = corner + v * dv;
      if (first && du === 1) {
        out.set(data.subarray(read, read + columns), at);
        at += columns;
      } else if (first) {
        for (let u = 0; u < columns; u += 1, at += 1, read += du) out[at] = data[read];
      } else if (project === "min") {
        for (let u = 0; u < columns; u += 1, at += 1, read += du) if (data[read] < out[at]) out[at] = data[read];
      } else {
        for (let u = 0; u < columns; u += 1, at += 1, read += du) if (data[read] > out[at]) out[at] = data[read];
      }
    }
  }
}
