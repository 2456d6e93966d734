// Planes of full size: what is held of them, and what is to be asked for next.

class Sharp {
  constructor(meta) {
    this.meta = meta;
    this.held = new Map();
    this.bytes = 0;
    this.time = 0;
    const [columns, rows, slices] = meta.size;
    // A chunk holds whole planes; within one its axes run as in the volume (slices, rows, columns).
    this.strides = [
      [slices * rows, 1, rows],
      [1, slices * columns, columns],
      [1, columns, rows * columns],
    ];
  }

  run(axis, index) {
    return Math.floor(index / this.meta.run[axis]);
  }

  /** The name of a run of planes; `project` names the one plane of the largest or smallest value of all. */
  name(axis, number, project = null) {
    const kind = axis + (project === "max" ? 3 : project === "min" ? 6 : 0);
    return `${this.meta.id}${kind}${String(number).padStart(7, "0")}`;
  }

  /** The names that make up planes first to last. */
  names(plane, first, last, project) {
    if (last - first + 1 >= plane.count) return [this.name(plane.through, 0, project)];
    const names = [];
    for (let number = this.run(plane.through, first); number <= this.run(plane.through, last); number += 1) {
      names.push(this.name(plane.through, number));
    }
    return names;
  }

  has(name) {
    return this.held.has(name);
  }

  /** Whether a chunk is held; one that is looked at is the last to be let go. */
  touch(name) {
    const chunk = this.held.get(name);
    if (chunk) chunk.used = this.time += 1;
    return Boolean(chunk);
  }

  /** Bytes of the chunk that a name stands for, at most. */
  size(name) {
    const axis = Number(name[24]) % 3;
    const { size, run, dtype } = this.meta;
    const planes = Number(name[24]) < 3 ? run[axis] : 1;
    return ((size[0] * size[1] * size[2]) / size[axis]) * planes * (dtype === "u1" ? 1 : 2);
  }

  take(name, buffer) {
    if (this.held.has(name)) return;
    const data = typed(this.meta, buffer);
    this.held.set(name, { data, used: (this.time += 1) });
    this.bytes += data.byteLength;
    while (this.bytes > this.meta.held) {
      const [oldest, { data: gone }] = [...this.held].reduce((one, other) => (one[1].used < other[1].used ? one : other));
      this.held.delete(oldest);
      this.bytes -= gone.byteLength;
    }
  }

  /** Planes first to last in full size, or null while some are missing. */
  plane(plane, first, last, project) {
    const names = this.names(plane, first, last, project);
    if (!names.every((name) => this.held.has(name))) return null;
    const axis = plane.through;
    const picture = emptyPicture(this.meta, plane.width, plane.height);
    const whole = last - first + 1 >= plane.count;
    names.forEach((name, number) => {
      const chunk = this.held.get(name);
      const start = whole ? 0 : this.run(axis, first) * this.meta.run[axis] + number * this.meta.run[axis];
      const from = whole ? 0 : Math.max(first, start);
      const count = whole ? 1 : Math.min(last, start + this.meta.run[axis] - 1) - from + 1;
      gather(picture, chunk.data, this.strides[axis], plane, from - start, count, project, number === 0);
    });
    return picture;
  }

  /** The exact value of a voxel where a chunk of any axis holds it, else null. */
  valueAt(at) {
    for (const axis of [2, 1, 0]) {
      const number = this.run(axis, at[axis]);
      const chunk = this.held.get(this.name(axis, number));
      if (!chunk) continue;
      const inside = at.map((place, other) => (other === axis ? place - number * this.meta.run[axis] : place));
      const index = inside.reduce((sum, place, other) => sum + place * this.strides[axis][other], 0);
      return chunk.data[index] * this.meta.scale + this.meta.offset;
    }
    return null;
  }
}
