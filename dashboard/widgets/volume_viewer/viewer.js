// The volume viewer itself: holds the state, takes new data, draws, asks for more, and tells Python what it must know.

const REST_MS = 400;
const PRESSES = ["pointerdown", "pointerup"];
const HELD_MS = 1500;
const CLICK_MS = 150;
const FRAMES_KEPT = 240;
const PAUSE_MS = 250;
const PLANNED_SHARE = 0.8;

// What a reader has chosen, by the key of the viewer: outlives a visit to another page.
const remembered = new Map();
let lastUsed = null;

class Viewer extends Display {
  constructor(parent) {
    super();
    this.contents = new Contents();
    this.shown = new Map();
    this.pictures = [];
    this.hidden = new Set();
    this.maximised = null;
    this.draws = 0;
    this.received = 0;
    this.quietUntil = 0;
    this.telling = {};
    this.frames = [];
    this.requests = new Requests(
      (request) => this.tell("wants", request),
      (name, buffer) => this.take(name, buffer),
    );
    this.toolbar = new Toolbar(this);
    this.panel = new Panel(this);
    this.title = el("div", { class: "volume-title", hidden: true });
    this.grid = el("div", { class: "grid planes" });
    this.root = el(
      "div",
      { class: "viewer volume", tabindex: "0", role: "group", "aria-label": "Volume viewer", "data-testid": "volume-viewer" },
      this.title,
      this.grid,
      this.toolbar.root,
      this.toolbar.keys,
    );
    parent.append(this.root);
    markFont = getComputedStyle(this.root).fontFamily;
    this.stopKeys = listenToKeys(this, keyActions(this));
    this.watch = new ResizeObserver(() => this.resize());
    this.watch.observe(this.root);
    this.onWindow = () => this.resize();
    window.addEventListener("resize", this.onWindow);
    this.root.addEventListener("pointerenter", () => (lastUsed = this));
    this.onPress = (event) => this.press(event);
    for (const type of PRESSES) document.addEventListener(type, this.onPress, true);
  }

  get inCharge() {
    return lastUsed === this || lastUsed === null;
  }

  /** For the viewers of a group: there once there is something to show. */
  get picture() {
    return this.volume;
  }

  get planes() {
    return this.pictures.map(({ plane }) => plane);
  }

  destroy() {
    leaveGroup(this);
    this.stopKeys();
    this.requests.leaving.abort();
    window.removeEventListener("resize", this.onWindow);
    for (const type of PRESSES) document.removeEventListener(type, this.onPress, true);
    clearTimeout(this.tellTimer);
    this.watch.disconnect();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.restTimer);
    clearTimeout(this.askTimer);
    clearTimeout(this.againTimer);
    if (lastUsed === this) lastUsed = null;
    this.root.remove();
  }

  // ---- New data -------------------------------------------------------------------------------------------

  update(data, send) {
    this.data = data;
    this.send = send;
    this.memory = remembered.get(data.key) ?? { settings: { ...DEFAULTS }, image: null, hidden: new Set() };
    remembered.set(data.key, this.memory);
    this.settings = this.memory.settings;
    this.hidden = this.memory.hidden;
    joinGroup(this, data.group);
    const jump = data.jump !== (this.memory.jump ?? 0);
    this.memory.jump = data.jump;
    if (this.memory.image !== data.image.id) this.startImage();
    else if (jump && data.at) this.placeAt(data.at);
    if (this.sharp?.meta.id !== data.image.id) this.sharp = new Sharp(data.image);
    this.scales = sliderScales(data.image);
    this.placePictures();
    this.collect();
    this.requests.expect(data.offered, data.answered, (name) => this.has(name));
    this.ask();
  }

  /** A different image: what belongs to the last one goes, what belongs to the reader stays. */
  startImage() {
    const { image, at } = this.data;
    const middle = image.size.map((length) => Math.floor(length / 2));
    Object.assign(this.memory, { image: image.id, at: at ?? middle });
    this.memory.view = { zoom: 1, center: image.size.map((length) => (length - 1) / 2) };
    Object.assign(this.settings, { preset: "0", window: { ...image.windows[0] } });
    if (!at) joinAll(this);
  }

  placePictures() {
    const key = JSON.stringify([this.data.image.id, this.data.image.planes]);
    if (key === this.planesKey) return;
    this.planesKey = key;
    this.data.image.planes.forEach((facts, index) => {
      const plane = new Plane(facts, this.data.image);
      if (this.pictures[index]) {
        this.pictures[index].take(plane);
        return;
      }
      this.pictures[index] = new PlanePicture(this, plane);
      listenToPicture(this, this.pictures[index]);
    });
    this.grid.replaceChildren(...this.pictures.map(({ root }) => root), this.panel.root);
    this.active ??= this.pictures[0];
  }

  has(name) {
    return this.sharp.has(name) || this.contents.held.has(name);
  }

  take(name, buffer) {
    this.received += buffer.byteLength - NAME_BYTES;
    if (name.startsWith(this.sharp.meta.id)) this.sharp.take(name, buffer);
    else this.contents.arrived.set(name, buffer);
    this.collect();
    this.ask();
  }

  /** Shows what has arrived of the binary data. */
  collect() {
    Object.assign(this, this.contents.collect(this.data));
    this.overlaysKey = JSON.stringify(this.data.overlays) + this.missing;
    setText(this.title, this.data.title);
    this.title.hidden = !this.data.title;
    this.panel.layout(this.data);
    this.resize();
  }

  // ---- Layout and drawing ---------------------------------------------------------------------------------

  resize() {
    const room = this.root.clientWidth;
    if (!room || !this.data) return;
    const columns = room < 420 ? 1 : 2;
    this.root.dataset.maximised = this.maximised ?? "";
    this.root.dataset.narrow = String(room < 420);
    this.grid.dataset.layout = this.maximised ? (room < 900 ? "one" : "beside") : columns === 1 ? "one" : "four";
    for (const picture of this.pictures) {
      picture.root.hidden = Boolean(this.maximised) && picture.plane.id !== this.maximised;
      picture.showMaximised(picture.plane.id === this.maximised);
    }
    const { width } = this.pictures.find(({ root }) => !root.hidden).stage.getBoundingClientRect();
    const most = window.innerHeight * (this.maximised ? 0.74 : 0.37);
    const height = Math.round(this.data.height && !this.maximised ? this.data.height : Math.min(most, width));
    this.size = { width, height };
    this.grid.style.setProperty("--stage-height", `${height}px`);
    this.redraw();
  }

  /** Draws with the next frame, however often it is asked. */
  redraw() {
    this.frame ??= requestAnimationFrame((now) => {
      this.frame = null;
      this.draw(now);
    });
  }

  get overlayKey() {
    const { opacity, top, style, values, diverging, sequential } = this.settings;
    return [this.overlaysKey, [...this.hidden].sort(), opacity, top, style, values, diverging, sequential].join();
  }

  draw(now) {
    if (!this.size || !this.data) return;
    const started = performance.now();
    const { settings, root } = this;
    const controls = JSON.stringify([settings, Boolean(this.volume), this.overlaysKey]);
    if (controls !== this.controls) this.toolbar.update();
    this.controls = controls;
    this.panel.update();
    let drawn = 0;
    if (this.volume) {
      const ratio = window.devicePixelRatio || 1;
      for (const picture of this.pictures) if (!picture.root.hidden) drawn += picture.draw(ratio);
    }
    if (drawn) this.countFrame(now);
    const sharp = this.pictures.every((picture) => picture.root.hidden || picture.isSharp);
    Object.assign(root.dataset, {
      ready: String(Boolean(this.volume) && !this.missing.length),
      sharp: String(Boolean(this.volume) && sharp),
      at: this.at.join(" "),
      zoom: this.view.zoom.toFixed(4),
      window: settings.window.width,
      level: settings.window.center,
      slab: settings.slab,
      draws: (this.draws += drawn),
      drawMs: (performance.now() - started).toFixed(1),
      heldBytes: this.sharp.bytes,
      receivedBytes: this.received,
    });
    this.askSoon();
  }

  /** The times between frames of one movement; a pause is none. */
  countFrame(now) {
    const passed = now - this.lastFrame;
    this.lastFrame = now;
    if (!(passed < PAUSE_MS)) return;
    this.frames.push(passed);
    if (this.frames.length > FRAMES_KEPT) this.frames.shift();
    const sorted = [...this.frames].sort((one, other) => one - other);
    const at = (part) => sorted[Math.floor(part * (sorted.length - 1))].toFixed(1);
    Object.assign(this.root.dataset, { frameMsP50: at(0.5), frameMsP95: at(0.95) });
  }

  // ---- Asking for data ------------------------------------------------------------------------------------

  askSoon() {
    this.askTimer ??= setTimeout(() => {
      this.askTimer = null;
      this.ask();
    }, 60);
  }

  /** Asks for what is missing: first what is needed at all, then what is looked at, then what may be next. */
  ask() {
    if (!this.data) return;
    const names = [...this.missing];
    if (this.volume && !this.volume.complete) names.push(...this.plan());
    this.requests.ask([...new Set(names)]);
    clearTimeout(this.againTimer);
    if (this.requests.coming.size) this.againTimer = setTimeout(() => this.ask(), LOST_MS);
  }

  plan() {
    const pictures = this.pictures.filter(({ root }) => !root.hidden);
    const order = [this.active, ...pictures.filter((one) => one !== this.active)];
    const wanted = order.flatMap(({ plane }) => this.names(plane, ...this.slab(plane)));
    const { plane } = this.active;
    const [first, last] = this.slab(plane);
    if (last - first + 1 < plane.count) {
      const run = this.sharp.meta.run[plane.through];
      const ahead = this.heading < 0 ? [-1, -2, 1] : [1, 2, -1];
      for (const far of ahead) {
        const index = (far > 0 ? last : first) + far * run;
        if (index > -run && index < plane.count - 1 + run) {
          const inside = Math.min(plane.count - 1, Math.max(0, index));
          wanted.push(...this.names(plane, inside, inside));
        }
      }
    }
    // No more than fits: what is asked for must not push out what is looked at.
    let room = PLANNED_SHARE * this.sharp.meta.held;
    const fitting = [...new Set(wanted)].filter((name) => (room -= this.sharp.size(name)) >= 0);
    return fitting.filter((name) => !this.sharp.has(name));
  }

  // ---- Who is meant, and what Python hears ----------------------------------------------------------------

  activate(picture) {
    lastUsed = this;
    this.active = picture;
  }

  maximise(id) {
    this.maximised = this.maximised === id ? null : id;
    this.resize();
  }

  restore() {
    this.toolbar.showKeys(false);
    if (this.maximised) this.maximise(this.maximised);
  }

  /** A press outside: until its click has been dealt with, Python hears nothing from here. */
  press(event) {
    if (event.composedPath().includes(this.root)) return;
    this.quietUntil = performance.now() + (event.type === "pointerdown" ? HELD_MS : CLICK_MS);
  }

  /** Streamlit loses a click on the page that falls into the same instant as a message from a fragment. */
  tell(name, value) {
    this.telling[name] = value;
    clearTimeout(this.tellTimer);
    const wait = this.quietUntil - performance.now();
    if (wait > 0) {
      this.tellTimer = setTimeout(() => this.tell(name, value), wait);
      return;
    }
    for (const [told, latest] of Object.entries(this.telling)) this.send.state(told, latest);
    this.telling = {};
  }

  moved() {
    clearTimeout(this.restTimer);
    this.restTimer = setTimeout(() => this.sendAt(), REST_MS);
  }

  /** Tells Python once the reader has come to rest. */
  sendAt() {
    const jump = this.memory.jump ?? 0;
    const news = JSON.stringify([this.at, jump]);
    if (this.memory.last === news) return;
    this.memory.last = news;
    this.root.dataset.told = this.at.join(" ");
    this.tell("at", { image: this.memory.image, place: this.at, jump });
  }
}
