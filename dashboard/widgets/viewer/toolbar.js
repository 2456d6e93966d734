// The controls.

const STYLES = { heat: "Heat", contour: "Contours" };
const VALUES = { signed: "Signed", positive: "Positive only", absolute: "Absolute" };
const DIVERGING_NAMES = { "purple-orange": "Purple–orange", "blue-red": "Blue–red" };
const SEQUENTIAL_NAMES = { inferno: "Inferno", viridis: "Viridis", cividis: "Cividis" };

const KEYS = [
  ["← →", "previous, next case"],
  ["↑ ↓", "previous, next slice (Page Up, Page Down: five)"],
  ["1 to 9", "show or hide a method's map"],
  ["+ −", "zoom; also the wheel or a pinch"],
  ["drag", "pan"],
  ["right or Shift drag", "window (across) and level (up, down)"],
  ["Alt wheel", "slices"],
  ["double-click", "enlarge a picture; Esc goes back"],
  ["R", "reset"],
  ["?", "show or hide this list"],
];

class Toolbar {
  /** `viewer` answers set(name, value) and the actions of the buttons. */
  constructor(viewer) {
    this.viewer = viewer;
    this.fields = {};
    this.root = el("div", { class: "toolbar", role: "group", "aria-label": "Display" });
    const image = this.group("Image");
    this.slider(image, "slice", "Slice", 0, 0, 1);
    this.select(image, "preset", "Preset", {});
    this.slider(image, "window", "Window", 0, 1000, 1);
    this.slider(image, "level", "Level", 0, 1000, 1);
    this.maps = this.group("Maps");
    this.slider(this.maps, "opacity", "Opacity", 0, 100, 1);
    this.slider(this.maps, "top", "Show top", 1, 100, 1);
    this.select(this.maps, "style", "Style", STYLES);
    this.select(this.maps, "values", "Values", VALUES);
    this.select(this.maps, "diverging", "Signed colours", DIVERGING_NAMES);
    this.select(this.maps, "sequential", "Colours", SEQUENTIAL_NAMES);
    this.drag = button("drag", {
      iconName: "window",
      label: "Drag to window",
      title: "Dragging changes window and level instead of moving the image",
      pressed: false,
      onclick: () => viewer.set("dragWindow", !viewer.settings.dragWindow),
    });
    this.labels = button("labels", {
      iconName: "outline",
      label: "Reference",
      title: "Show the reference outlines",
      pressed: true,
      onclick: () => viewer.set("labels", !viewer.settings.labels),
    });
    this.found = button("found", {
      iconName: "dashed",
      label: "Model's mask",
      title: "Show the outlines that the model found (dashed)",
      pressed: true,
      onclick: () => viewer.set("found", !viewer.settings.found),
    });
    const reset = button("reset", {
      iconName: "reset",
      label: "Reset",
      title: "Zoom, window and display as at first (R)",
      onclick: () => viewer.reset(),
    });
    const save = button("save", {
      iconName: "save",
      label: "Save picture",
      title: "Save all pictures as one PNG",
      onclick: () => viewer.savePicture(),
    });
    this.help = button("help", {
      label: "?",
      title: "Keys and gestures",
      onclick: () => this.showKeys(this.keys.hidden),
    });
    this.help.classList.add("round");
    this.help.setAttribute("aria-label", "Keys and gestures");
    this.help.setAttribute("aria-expanded", "false");
    this.buttons = el("div", { class: "buttons" }, this.drag, this.labels, this.found, reset, save, this.help);
    this.keys = el(
      "dl",
      { class: "keys", hidden: true, "data-testid": "keys" },
      ...KEYS.map(([keys, meaning]) => el("div", {}, el("dt", {}, keys), el("dd", {}, meaning))),
    );
  }

  showKeys(on) {
    this.keys.hidden = !on;
    this.help.setAttribute("aria-expanded", String(on));
  }

  group(label) {
    const node = el("div", { class: "group", role: "group", "aria-label": label });
    this.root.append(node);
    return node;
  }

  slider(parent, name, label, min, max, step) {
    const input = el("input", { type: "range", min, max, step, "data-testid": `control-${name}`, "aria-label": label });
    const output = el("span", { class: "field-value", "data-testid": `value-${name}` });
    input.addEventListener("input", () => this.viewer.set(name, Number(input.value)));
    if (name === "slice") input.addEventListener("change", () => this.viewer.sendSlice());
    const field = el("label", { class: "field" }, el("span", { class: "field-label" }, label, output), input);
    parent.append(field);
    this.fields[name] = { field, input, output };
  }

  select(parent, name, label, options) {
    const input = el("select", { "data-testid": `control-${name}`, "aria-label": label });
    input.addEventListener("change", () => this.viewer.set(name, input.value));
    const field = el("label", { class: "field" }, el("span", { class: "field-label" }, label), input);
    parent.append(field);
    this.fields[name] = { field, input };
    this.options(name, options);
  }

  options(name, options) {
    const { input } = this.fields[name];
    const key = JSON.stringify(options);
    if (input.dataset.options === key) return;
    input.dataset.options = key;
    input.replaceChildren(...Object.entries(options).map(([value, text]) => el("option", { value }, text)));
  }

  place(name, value, text, spoken = text) {
    const { input, output } = this.fields[name];
    input.value = String(value);
    if (output) setText(output, text);
    if (spoken) input.setAttribute("aria-valuetext", spoken);
  }

  /** Everything as the viewer's settings say. */
  update() {
    const { settings: set, picture, slice, overlays, outlines, scales } = this.viewer;
    this.root.classList.toggle("off", !picture);
    if (!picture) return;
    const { meta } = picture;
    const show = (name, on) => (this.fields[name].field.hidden = !on);
    show("slice", picture.depth > 1);
    this.fields.slice.input.max = String(picture.depth - 1);
    this.place("slice", slice, `${slice + 1} / ${picture.depth}`, `slice ${slice + 1} of ${picture.depth}`);
    const presets = Object.fromEntries(meta.windows.map(({ name }, index) => [index, name]));
    this.options("preset", set.preset === "own" ? { ...presets, own: "adjusted" } : presets);
    this.place("preset", set.preset);
    this.fields.preset.input.title = set.preset === "own" ? "" : presets[set.preset];
    const step = valueStep(meta);
    this.place("window", scales.widthToSlider(set.window.width), formatStep(set.window.width, step));
    this.place("level", scales.levelToSlider(set.window.center), formatStep(set.window.center, step));
    this.place("opacity", set.opacity, `${set.opacity} %`);
    this.place("top", set.top, set.top === 100 ? "all" : `${set.top} %`);
    for (const name of ["style", "values", "diverging", "sequential"]) this.place(name, set[name]);
    const shown = [...overlays.values()];
    this.maps.hidden = shown.length === 0;
    show("values", shown.some(({ meta: map }) => map.signed));
    show("diverging", shown.some((overlay) => overlay.mode(set) === "signed"));
    show("sequential", shown.some((overlay) => overlay.mode(set) !== "signed"));
    this.drag.setAttribute("aria-pressed", String(set.dragWindow));
    this.labels.hidden = outlines.every(({ meta }) => meta.found);
    this.found.hidden = !outlines.some(({ meta }) => meta.found);
    this.found.setAttribute("aria-pressed", String(set.found));
    this.labels.setAttribute("aria-pressed", String(set.labels));
  }
}

/** Slider positions (0 to 1000) of window and level: the width runs in equal ratios, the level in equal steps. */
function sliderScales({ range, windows, scale }) {
  const span = Math.max(range[1] - range[0], 1e-9);
  const low = Math.min(range[0], ...windows.map(({ center }) => center));
  const high = Math.max(range[1], ...windows.map(({ center }) => center), low + 1e-9);
  const widest = Math.max(span * 1.5, ...windows.map(({ width }) => width * 1.5));
  const narrowest = Math.min(Math.max(span / 1000, scale), ...windows.map(({ width }) => width), widest / 2);
  const ratio = Math.log(widest / narrowest);
  const clamp = (value, least, most) => Math.min(most, Math.max(least, value));
  return {
    widthToSlider: (width) => Math.round((1000 * Math.log(clamp(width, narrowest, widest) / narrowest)) / ratio),
    sliderToWidth: (place) => narrowest * Math.exp((place / 1000) * ratio),
    levelToSlider: (level) => Math.round((1000 * (clamp(level, low, high) - low)) / (high - low)),
    sliderToLevel: (place) => low + (place / 1000) * (high - low),
    clampWidth: (width) => clamp(width, narrowest, widest),
    clampLevel: (level) => clamp(level, low - span / 2, high + span / 2),
    drag: windows[0].width / 250,
  };
}
