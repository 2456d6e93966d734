// The viewer itself: holds the state, takes new data, draws, and tells Python what it must know.

const DEFAULTS = {
  opacity: 60,
  top: 100,
  style: "heat",
  values: "signed",
  diverging: "purple-orange",
  sequential: "inferno",
  labels: true,
  found: true,
  dragWindow: false,
};

// What a reader has chosen, by the key of the viewer: outlives a visit to another page.
const remembered = new Map();
let lastUsed = null;

class Viewer {
  constructor(parent) {
    this.panes = new Map();
    this.contents = new Contents();
    this.hidden = new Set();
    this.cursor = null;
    this.maximised = null;
    this.draws = 0;
    this.toolbar = new Toolbar(this);
    this.readout = new Readout();
    this.grid = el("div", { class: "grid" });
    this.empty = el("div", { class: "empty" }, "Choose a model and an explanation to see what it looked at.");
    this.root = el(
      "div",
      { class: "viewer", tabindex: "0", role: "group", "aria-label": "Image viewer", "data-testid": "viewer" },
      this.grid,
      el("div", { class: "dock" }, this.readout.root, this.toolbar.buttons),
      this.toolbar.root,
      this.toolbar.keys,
    );
    parent.append(this.root);
    markFont = getComputedStyle(this.root).fontFamily;
    this.base = document.createElement("canvas");
    this.stopKeys = listenToKeys(this, keyActions(this));
    this.onBlobs = () => this.collect();
    blobStore().changed.addEventListener("change", this.onBlobs);
    this.watch = new ResizeObserver(() => this.resize());
    this.watch.observe(this.root);
    this.onWindow = () => this.resize();
    window.addEventListener("resize", this.onWindow);
    this.root.addEventListener("pointerenter", () => (lastUsed = this));
  }

  get inCharge() {
    return lastUsed === this || lastUsed === null;
  }

  destroy() {
    leaveGroup(this);
    this.stopKeys();
    blobStore().changed.removeEventListener("change", this.onBlobs);
    window.removeEventListener("resize", this.onWindow);
    this.watch.disconnect();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.sliceTimer);
    if (lastUsed === this) lastUsed = null;
    this.root.remove();
  }

  // ---- New data -------------------------------------------------------------------------------------------

  update(data, send) {
    this.data = data;
    this.send = send;
    const known = remembered.get(data.key);
    this.memory = known ?? { settings: { ...DEFAULTS }, image: null, sentSlice: null };
    remembered.set(data.key, this.memory);
    this.settings = this.memory.settings;
    if (this.memory.image !== data.image.blob) this.startImage();
    else if (data.slice !== this.memory.mapSlice && data.slice !== this.memory.sentSlice) this.memory.slice = data.slice;
    this.memory.mapSlice = data.slice;
    this.scales = sliderScales(data.image);
    joinGroup(this, data.group);
    this.placePanes();
    this.collect();
  }

  /** A different image: what belongs to the last one goes, what belongs to the reader stays. */
  startImage() {
    const { data, memory } = this;
    memory.image = data.image.blob;
    memory.slice = data.slice;
    memory.sentSlice = null;
    memory.view = { zoom: 1, x: data.image.size[0] / 2, y: data.image.size[1] / 2 };
    Object.assign(this.settings, { preset: "0", window: { ...data.image.windows[0] } });
    this.cursor = null;
    this.maximised = null;
  }

  get view() {
    return this.memory.view;
  }

  get slice() {
    return this.memory.slice;
  }

  placePanes() {
    const ids = this.data.panes.map(({ id }) => id);
    for (const [id, pane] of this.panes) {
      if (!ids.includes(id)) {
        pane.root.remove();
        this.panes.delete(id);
      }
    }
    this.data.panes.forEach((facts, index) => {
      let pane = this.panes.get(facts.id);
      if (!pane) {
        pane = new Pane({
          toggle: (id) => this.toggle(id),
          maximise: (id) => this.maximise(id),
          trigger: (event, id) => this.send.trigger(event, id),
        });
        this.panes.set(facts.id, pane);
        pane.update(facts);
        listenToStage(this, pane);
      } else {
        pane.update(facts);
      }
      if (this.grid.children[index] !== pane.root) this.grid.insertBefore(pane.root, this.grid.children[index] ?? null);
    });
    if (this.maximised && !this.panes.has(this.maximised)) this.maximised = null;
    this.empty.hidden = this.data.panes.some(({ map, status }) => map || status !== "ready");
    this.grid.append(this.empty);
  }

  /** Shows what has arrived of the binary data. */
  collect() {
    if (!this.data) return;
    Object.assign(this, this.contents.collect(this.data));
    this.root.dataset.ready = String(!this.waiting);
    this.readout.layout(this.data);
    this.readout.write(this);
    this.resize();
  }

  // ---- Layout and drawing ---------------------------------------------------------------------------------

  resize() {
    const room = this.root.clientWidth;
    if (!room || !this.data) return;
    const count = this.maximised ? 1 : this.data.panes.length + (this.empty.hidden ? 0 : 1);
    const fit = room < 420 ? 1 : room < 900 ? 2 : Math.floor(room / 215);
    const rows = Math.ceil(count / Math.min(count, fit));
    this.columns = Math.ceil(count / rows);
    this.grid.style.setProperty("--columns", String(this.columns));
    this.root.dataset.maximised = this.maximised ?? "";
    this.root.dataset.narrow = String(room < 1500);
    for (const pane of this.panes.values()) {
      pane.root.hidden = Boolean(this.maximised) && pane.id !== this.maximised;
      pane.showMaximised(pane.id === this.maximised);
    }
    this.empty.classList.toggle("aside", Boolean(this.maximised));
    const stage = this.shownPanes()[0]?.stage;
    if (!stage) return;
    // The exact width: whole pixels would put the cursor a fraction of a pixel off.
    const { width } = stage.getBoundingClientRect();
    const { size, spacing } = this.data.image;
    const shape = (size[1] * spacing[1]) / (size[0] * spacing[0]);
    const most = window.innerHeight * (this.maximised ? 0.7 : rows === 1 ? 0.55 : 0.3);
    const least = Math.min(220, most);
    const own = Math.min(Math.max(least, most), Math.max(least, width * shape));
    const height = Math.round(this.data.height && !this.maximised ? this.data.height : own);
    this.size = { width, height };
    this.grid.style.setProperty("--stage-height", `${height}px`);
    this.redraw();
  }

  shownPanes() {
    return [...this.panes.values()]
      .filter(({ root }) => !root.hidden)
      .sort((one, other) => this.data.panes.indexOf(one.facts) - this.data.panes.indexOf(other.facts));
  }

  /** Draws with the next frame, however often it is asked. */
  redraw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  draw() {
    if (!this.size) return;
    const started = performance.now();
    this.toolbar.update();
    const ratio = window.devicePixelRatio || 1;
    const size = { width: Math.round(this.size.width * ratio), height: Math.round(this.size.height * ratio) };
    const { picture, settings } = this;
    if (picture) {
      const key = JSON.stringify([size, this.view, this.slice, settings.window, this.memory.image]);
      if (key !== this.baseKey) {
        this.drawBase(this.base, size);
        this.baseKey = key;
      }
    }
    for (const pane of this.shownPanes()) {
      const overlay = this.overlays.get(pane.id);
      const visible = !this.hidden.has(pane.id);
      pane.showOverlaySwitch(visible);
      pane.showScale(overlay, pane.facts.map || pane.waits ? null : picture, settings, Boolean(picture) && !pane.waits);
      pane.hint.hidden = !(overlay && this.slice !== this.data.slice);
      if (!pane.hint.hidden) setText(pane.hint, `The map is of slice ${this.data.slice + 1}`);
      if (pane.canvas.width !== size.width || pane.canvas.height !== size.height) Object.assign(pane.canvas, size);
      if (picture) this.drawPane(pane.canvas, pane, this.base, size, ratio);
    }
    this.placeRings();
    this.draws += 1;
    Object.assign(this.root.dataset, {
      draws: this.draws,
      drawMs: (performance.now() - started).toFixed(1),
      zoom: this.view.zoom.toFixed(4),
      center: `${this.view.x.toFixed(2)} ${this.view.y.toFixed(2)}`,
      window: settings.window.width,
      level: settings.window.center,
      slice: this.slice,
    });
  }

  /** The windowed image at the size of a pane; all panes share it. */
  drawBase(canvas, size) {
    Object.assign(canvas, size);
    const place = placement(this.picture, this.view, size.width, size.height);
    drawBase(canvas.getContext("2d"), this.picture, this.slice, this.settings.window, place);
    return canvas;
  }

  drawPane(canvas, pane, base, size, pixel) {
    const { picture, settings, slice } = this;
    const context = canvas.getContext("2d");
    const place = placement(picture, this.view, size.width, size.height);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.globalAlpha = 1;
    context.drawImage(base, 0, 0);
    const overlay = this.overlays.get(pane.id);
    if (overlay && !this.hidden.has(pane.id) && slice === this.data.slice) {
      overlay.draw(context, picture, place, settings, pixel);
    }
    const where = [place, slice, this.data.slice, picture.depth, pixel];
    const named = [];
    const shown = this.outlines.filter(({ meta }) => (meta.found ? settings.found : settings.labels));
    for (const outline of shown) outline.draw(context, ...where);
    for (const outline of shown) outline.write(context, ...where, named);
    drawSides(context, picture, size.width, size.height, pixel);
    drawScaleBar(context, picture, place, size.width, size.height, pixel);
  }

  // ---- Cursor ---------------------------------------------------------------------------------------------

  /** The cursor at a place of a stage (CSS pixels), or null outside. */
  point(place) {
    if (!this.picture || !this.size) return;
    this.cursor = null;
    if (place) {
      const at = placement(this.picture, this.view, this.size.width, this.size.height);
      const [x, y] = [Math.floor((place[0] - at.left) / at.sx), Math.floor((place[1] - at.top) / at.sy)];
      if (x >= 0 && y >= 0 && x < this.picture.width && y < this.picture.height) this.cursor = { x, y, place };
    }
    this.placeRings();
    this.readout.write(this);
    shareCursor(this);
  }

  placeRings() {
    for (const { ring } of this.panes.values()) {
      ring.classList.toggle("on", Boolean(this.cursor));
      if (this.cursor) ring.style.transform = `translate(${this.cursor.place[0]}px, ${this.cursor.place[1]}px)`;
    }
  }

  pick(pane, place) {
    this.point(place);
    if (this.data.pickable && this.cursor) this.send.trigger("picked", { pane, x: this.cursor.x, y: this.cursor.y });
  }

  // ---- What the reader does -------------------------------------------------------------------------------

  zoomBy(factor, place = [this.size.width / 2, this.size.height / 2]) {
    if (!this.picture) return;
    const { width, height } = this.size;
    const before = placement(this.picture, this.view, width, height);
    const [u, v] = [(place[0] - before.left) / before.sx, (place[1] - before.top) / before.sy];
    this.view.zoom = Math.min(40, Math.max(1, this.view.zoom * factor));
    const after = placement(this.picture, this.view, width, height);
    // The image point under the cursor stays where it is.
    this.moveTo(u - (place[0] - width / 2) / after.sx, v - (place[1] - height / 2) / after.sy);
  }

  panBy(dx, dy) {
    if (!this.picture) return;
    const { sx, sy } = placement(this.picture, this.view, this.size.width, this.size.height);
    this.moveTo(this.view.x - dx / sx, this.view.y - dy / sy);
  }

  /** Centres the view on an image point, as far as the image keeps filling the picture. */
  moveTo(x, y) {
    const { picture, view, size } = this;
    const { sx, sy } = placement(picture, view, size.width, size.height);
    const keep = (value, extent, room) => {
      const rim = Math.min(extent, room) / 2;
      return Math.min(extent - rim, Math.max(rim, value));
    };
    view.x = keep(x, picture.width, size.width / sx);
    view.y = keep(y, picture.height, size.height / sy);
    shareView(this);
    this.redraw();
  }

  windowBy(dx, dy) {
    const { window } = this.settings;
    window.width = this.scales.clampWidth(window.width + dx * this.scales.drag);
    window.center = this.scales.clampLevel(window.center + dy * this.scales.drag);
    this.settings.preset = "own";
    this.redraw();
  }

  /** One display setting, by the name of its control. */
  set(name, value) {
    const { settings, scales } = this;
    if (name === "slice") this.goToSlice(value);
    else if (name === "window" || name === "level") {
      if (name === "window") settings.window.width = scales.sliderToWidth(value);
      else settings.window.center = scales.sliderToLevel(value);
      settings.preset = "own";
    } else if (name === "preset") {
      if (value === "own") return;
      settings.preset = value;
      settings.window = { ...this.data.image.windows[Number(value)] };
    } else settings[name] = value;
    this.redraw();
  }

  goToSlice(slice) {
    this.memory.slice = Math.min(this.picture.depth - 1, Math.max(0, slice));
    this.readout.write(this);
    this.redraw();
  }

  stepSlice(step) {
    if (!this.picture || this.picture.depth === 1) return false;
    this.goToSlice(this.slice + step);
    clearTimeout(this.sliceTimer);
    this.sliceTimer = setTimeout(() => this.sendSlice(), 400);
    return true;
  }

  /** Tells Python once the reader has come to rest on a slice. */
  sendSlice() {
    clearTimeout(this.sliceTimer);
    if (this.memory.sentSlice === this.slice) return;
    this.memory.sentSlice = this.slice;
    this.send.state("slice", { image: this.memory.image, index: this.slice });
  }

  toggle(id) {
    if (!this.hidden.delete(id)) this.hidden.add(id);
    this.redraw();
  }

  toggleNth(number) {
    const pane = this.data.panes.filter(({ map }) => map)[number - 1];
    if (!pane) return false;
    this.toggle(pane.id);
    return true;
  }

  maximise(id) {
    this.maximised = this.maximised === id ? null : id;
    this.cursor = null;
    this.resize();
  }

  restore() {
    this.toolbar.showKeys(false);
    if (this.maximised) this.maximise(this.maximised);
  }

  page(step) { this.send.trigger("page", step); }

  reset() {
    const { size, windows } = this.data.image;
    this.memory.view = { zoom: 1, x: size[0] / 2, y: size[1] / 2 };
    Object.assign(this.settings, DEFAULTS, { preset: "0", window: { ...windows[0] } });
    this.hidden.clear();
    if (this.picture) shareView(this);
    this.redraw();
  }

  savePicture() {
    if (this.picture) download(composePicture(this), this.data.file_name);
  }
}
