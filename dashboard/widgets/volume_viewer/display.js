// What the reader sees of the volume: the place of the crosshair, zoom, window and settings. Knows nothing of drawing.

const DEFAULTS = {
  opacity: 60,
  top: 100,
  style: "heat",
  values: "signed",
  diverging: "purple-orange",
  sequential: "inferno",
  crosshair: true,
  dragWindow: false,
  slab: "0",
  project: "max",
};

/** Needs of the viewer: memory, settings, hidden, data, scales, volume, size, pictures, active; redraw() and moved(). */
class Display {
  get at() {
    return this.memory.at;
  }

  get view() {
    return this.memory.view;
  }

  /** First and last slice of what a plane shows. */
  slab(plane) {
    const index = this.at[plane.through];
    if (this.settings.slab === "whole") return [0, plane.count - 1];
    const count = Math.max(1, Math.round(Number(this.settings.slab) / plane.thickness));
    const first = index - Math.floor((count - 1) / 2);
    return [Math.max(0, first), Math.min(plane.count - 1, first + count - 1)];
  }

  names(plane, first, last) {
    return this.sharp.names(plane, first, last, this.settings.project);
  }

  sharpPlane(plane, first, last) {
    return this.volume.complete || this.names(plane, first, last).every((name) => this.sharp.touch(name));
  }

  /** The image value at the crosshair, and whether it is exact. */
  valueAt() {
    const exact = this.volume.complete ? this.volume.valueAt(this.at) : this.sharp.valueAt(this.at);
    return exact === null ? [this.volume.valueAt(this.at), false] : [exact, true];
  }

  // ---- Place ----------------------------------------------------------------------------------------------

  /** The crosshair to a place of the volume, without telling the group. */
  placeAt(at) {
    this.memory.at = at;
    this.keepInView();
    this.redraw();
    this.moved();
  }

  goTo(at) {
    this.placeAt(at);
    shareAll(this);
  }

  moveTo(picture, [x, y]) {
    if (!this.volume) return;
    const place = picture.place(this.size.width, this.size.height);
    const [u, v] = [Math.floor((x - place.left) / place.sx), Math.floor((y - place.top) / place.sy)];
    const { size: lengths } = this.data.image;
    this.goTo(picture.plane.toVolume(u, v, this.at).map((part, axis) => Math.min(lengths[axis] - 1, Math.max(0, part))));
  }

  scrollTo(plane, index) {
    const at = [...this.at];
    at[plane.through] = Math.min(plane.count - 1, Math.max(0, index));
    if (at[plane.through] === this.at[plane.through]) return;
    this.heading = at[plane.through] - this.at[plane.through];
    this.goTo(at);
  }

  step(plane, count) {
    this.scrollTo(plane, this.at[plane.through] + count);
  }

  /** To a slice of the stack, as a strip counts them. */
  goToSlice(index) {
    this.scrollTo(this.planes.find(({ through }) => through === 2), index);
  }

  // ---- Zoom, window, display ------------------------------------------------------------------------------

  /** Zooms all pictures; the point of `picture` at `spot` (CSS pixels) stays where it is, by default the crosshair. */
  zoomBy(factor, picture = this.active, spot = null) {
    if (!this.volume) return;
    const { plane } = picture;
    const before = picture.place(this.size.width, this.size.height);
    const cross = plane.toPicture(this.at);
    const fixed = spot ? [(spot[0] - before.left) / before.sx - 0.5, (spot[1] - before.top) / before.sy - 0.5] : cross;
    const still = plane.toVolume(...fixed, this.at);
    const zoom = Math.min(20, Math.max(1, this.view.zoom * factor));
    const share = this.view.zoom / zoom;
    this.view.zoom = zoom;
    this.centreOn(this.view.center.map((part, axis) => still[axis] + (part - still[axis]) * share));
  }

  panBy(picture, dx, dy) {
    if (!this.volume) return;
    const { sx, sy } = picture.place(this.size.width, this.size.height);
    const [u, v] = picture.plane.toPicture(this.view.center);
    this.centreOn(picture.plane.toVolume(u - dx / sx, v - dy / sy, this.view.center));
  }

  /** Centres the pictures on a place, as far as the volume keeps filling them. */
  centreOn(place) {
    const { size } = this.data.image;
    this.view.center = place.map((part, axis) => {
      const rim = size[axis] / (2 * this.view.zoom);
      return Math.min(size[axis] - rim - 0.5, Math.max(rim - 0.5, part));
    });
    this.redraw();
    shareAll(this);
  }

  keepInView() {
    const { size } = this.data.image;
    this.view.center = this.view.center.map((part, axis) => {
      const room = (0.96 * size[axis]) / (2 * this.view.zoom);
      return this.view.zoom === 1 ? part : Math.min(this.at[axis] + room, Math.max(this.at[axis] - room, part));
    });
  }

  windowBy(dx, dy) {
    const { window } = this.settings;
    window.width = this.scales.clampWidth(window.width + dx * this.scales.drag);
    window.center = this.scales.clampLevel(window.center + dy * this.scales.drag);
    this.settings.preset = "own";
    this.redraw();
    shareAll(this);
  }

  /** One display setting, by the name of its control. */
  set(name, value) {
    const { settings, scales } = this;
    if (name === "window" || name === "level") {
      if (name === "window") settings.window.width = scales.sliderToWidth(value);
      else settings.window.center = scales.sliderToLevel(value);
      settings.preset = "own";
    } else if (name === "preset") {
      if (value === "own") return;
      settings.preset = value;
      settings.window = { ...this.data.image.windows[Number(value)] };
    } else settings[name] = value;
    this.redraw();
    shareAll(this);
  }

  toggle(id) {
    if (!this.hidden.delete(id)) this.hidden.add(id);
    this.redraw();
  }

  reset() {
    const { windows } = this.data.image;
    Object.assign(this.settings, DEFAULTS, { preset: "0", window: { ...windows[0] } });
    this.hidden.clear();
    this.view.zoom = 1;
    this.centreOn(this.view.center);
  }
}
