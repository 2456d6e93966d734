// The controls.

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

class Toolbar extends Controls {
  /** `viewer` answers set(name, value) and the actions of the buttons. */
  constructor(viewer) {
    super(viewer);
    const image = this.group("Image");
    this.slider(image, "slice", "Slice", 0, 0, 1);
    this.fields.slice.input.addEventListener("change", () => viewer.sendSlice());
    this.windowFields(image);
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
    this.helpOn(KEYS);
    this.buttons = el("div", { class: "buttons" }, this.drag, this.labels, this.found, reset, save, this.help);
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
    this.placeWindow(meta, set, scales);
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
