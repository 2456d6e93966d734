// One of the three planes: which index axes run across and down its picture, and which counts its slices.

/** Has what placement() and the marks ask of an image: width, height, aspect and the meta of its two directions. */
class Plane {
  constructor({ id, title, through, across, down }, image) {
    Object.assign(this, { id, title, through, across, down });
    this.count = image.size[through];
    [this.width, this.height] = [image.size[across[0]], image.size[down[0]]];
    const spacing = [image.spacing[across[0]], image.spacing[down[0]]];
    this.thickness = image.spacing[through];
    this.aspect = spacing.map((mm) => mm / Math.min(...spacing));
    this.meta = { spacing, frame: image.frame, affine: image.affine && this.directions(image.affine) };
  }

  directions(affine) {
    const turned = [...affine];
    for (let row = 0; row < 3; row += 1) {
      turned[4 * row] = this.across[1] * affine[4 * row + this.across[0]];
      turned[4 * row + 1] = this.down[1] * affine[4 * row + this.down[0]];
    }
    return turned;
  }

  /** (column, row, slice) to (across, down) in pixels of the picture, whole numbers at pixel centres. */
  toPicture(at) {
    const [[a, right], [d, down]] = [this.across, this.down];
    return [right > 0 ? at[a] : this.width - 1 - at[a], down > 0 ? at[d] : this.height - 1 - at[d]];
  }

  /** The place of the volume at a place of the picture, also outside; the axis through it stays as in `at`. */
  toVolume(u, v, at) {
    const place = [...at];
    place[this.across[0]] = this.across[1] > 0 ? u : this.width - 1 - u;
    place[this.down[0]] = this.down[1] > 0 ? v : this.height - 1 - v;
    return place;
  }
}
