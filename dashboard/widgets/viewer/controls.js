// Sliders and menus of a viewer, which answers set(name, value).

const STYLES = { heat: "Heat", contour: "Contours" };
const VALUES = { signed: "Signed", positive: "Positive only", absolute: "Absolute" };
const DIVERGING_NAMES = { "purple-orange": "Purple–orange", "blue-red": "Blue–red" };
const SEQUENTIAL_NAMES = { inferno: "Inferno", viridis: "Viridis", cividis: "Cividis" };

class Controls {
  constructor(viewer) {
    this.viewer = viewer;
    this.fields = {};
    this.root = el("div", { class: "toolbar", role: "group", "aria-label": "Display" });
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

  windowFields(parent) {
    this.select(parent, "preset", "Preset", {});
    this.slider(parent, "window", "Window", 0, 1000, 1);
    this.slider(parent, "level", "Level", 0, 1000, 1);
  }

  placeWindow(meta, set, scales) {
    const presets = Object.fromEntries(meta.windows.map(({ name }, index) => [index, name]));
    this.options("preset", set.preset === "own" ? { ...presets, own: "adjusted" } : presets);
    this.place("preset", set.preset);
    this.fields.preset.input.title = set.preset === "own" ? "" : presets[set.preset];
    const step = valueStep(meta);
    this.place("window", scales.widthToSlider(set.window.width), formatStep(set.window.width, step));
    this.place("level", scales.levelToSlider(set.window.center), formatStep(set.window.center, step));
  }

  /** The list of keys and gestures, and the button that shows it. */
  helpOn(keys) {
    this.help = button("help", {
      label: "?",
      title: "Keys and gestures",
      onclick: () => this.showKeys(this.keys.hidden),
    });
    this.help.classList.add("round");
    this.help.setAttribute("aria-label", "Keys and gestures");
    this.help.setAttribute("aria-expanded", "false");
    this.keys = el(
      "dl",
      { class: "keys", hidden: true, "data-testid": "keys" },
      ...keys.map(([names, meaning]) => el("div", {}, el("dt", {}, names), el("dd", {}, meaning))),
    );
  }

  showKeys(on) {
    this.keys.hidden = !on;
    this.help.setAttribute("aria-expanded", String(on));
  }
}
