// The controls under the pictures.

const SLABS = { 0: "Single slice", 5: "5 mm", 10: "10 mm", 20: "20 mm", whole: "Whole volume" };
const PROJECTIONS = { max: "Brightest (maximum)", min: "Darkest (minimum)" };

const KEYS = [
  ["click, drag", "move the crosshair"],
  ["wheel", "slices of the picture under the pointer"],
  ["↑ ↓", "previous, next slice (Page Up, Page Down: ten; Home, End)"],
  ["+ −", "zoom at the crosshair; also Ctrl with the wheel, or a pinch"],
  ["Alt or middle drag", "move the enlarged picture"],
  ["right or Shift drag", "window (across) and level (up, down)"],
  ["double-click", "enlarge a picture; Esc goes back"],
  ["X", "show or hide the crosshair"],
  ["R", "reset"],
  ["?", "show or hide this list"],
];

class Toolbar extends Controls {
  constructor(viewer) {
    super(viewer);
    const image = this.group("Image");
    this.windowFields(image);
    this.select(image, "slab", "Slab", SLABS);
    this.select(image, "project", "Slab shows", PROJECTIONS);
    this.maps = this.group("Maps");
    this.slider(this.maps, "opacity", "Opacity", 0, 100, 1);
    this.slider(this.maps, "top", "Show top", 1, 100, 1);
    this.select(this.maps, "style", "Style", STYLES);
    this.select(this.maps, "values", "Values", VALUES);
    this.select(this.maps, "diverging", "Signed colours", DIVERGING_NAMES);
    this.select(this.maps, "sequential", "Colours", SEQUENTIAL_NAMES);
    const toggle = (name, iconName, label, title) =>
      button(name, { iconName, label, title, pressed: false, onclick: () => viewer.set(name, !viewer.settings[name]) });
    this.cross = toggle("crosshair", "cross", "Crosshair", "Show the crosshair (X)");
    this.drag = toggle("dragWindow", "window", "Drag to window", "Dragging changes window and level instead of moving the crosshair");
    const reset = button("reset", {
      iconName: "reset",
      label: "Reset",
      title: "Zoom, window and display as at first (R)",
      onclick: () => viewer.reset(),
    });
    this.helpOn(KEYS);
    this.buttons = el("div", { class: "buttons" }, this.cross, this.drag, reset, this.help);
    this.root.append(this.buttons);
  }

  update() {
    const { settings: set, volume, shown, data, scales } = this.viewer;
    this.root.classList.toggle("off", !volume);
    const show = (name, on) => (this.fields[name].field.hidden = !on);
    this.placeWindow(data.image, set, scales);
    this.place("slab", set.slab);
    this.place("project", set.project);
    show("project", set.slab !== "0");
    this.place("opacity", set.opacity, `${set.opacity} %`);
    this.place("top", set.top, set.top === 100 ? "all" : `${set.top} %`);
    for (const name of ["style", "values", "diverging", "sequential"]) this.place(name, set[name]);
    const maps = [...shown.values()].filter((item) => item instanceof VolumeMap);
    this.maps.hidden = maps.length === 0;
    show("values", maps.some(({ meta }) => meta.signed));
    show("diverging", maps.some((map) => map.mode(set) === "signed"));
    show("sequential", maps.some((map) => map.mode(set) !== "signed"));
    this.cross.setAttribute("aria-pressed", String(set.crosshair));
    this.drag.setAttribute("aria-pressed", String(set.dragWindow));
  }
}
