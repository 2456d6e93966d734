// One plane on the screen: header, picture, crosshair and the slider of its slices.

class PlanePicture {
  /** `viewer` answers maximise(id) and scrollTo(plane, index). */
  constructor(viewer, plane) {
    this.viewer = viewer;
    this.subtitle = el("span", { class: "pane-subtitle" });
    this.title = el("span", { class: "pane-title" });
    this.grow = button("maximise", {
      iconName: "grow",
      label: "Enlarge",
      title: "Enlarge (double-click)",
      wordless: true,
      pressed: false,
      onclick: () => viewer.maximise(this.plane.id),
    });
    this.canvas = el("canvas", { role: "img" });
    this.lines = ["left", "right", "above", "below"].map((side) => el("div", { class: `cross cross-${side}` }));
    this.cross = el("div", { class: "crosshair", "aria-hidden": "true" }, ...this.lines);
    this.stage = el("div", { class: "stage", tabindex: "0", role: "group" }, this.canvas, this.cross);
    this.slider = el("input", { type: "range", min: 0, step: 1, class: "scrubber" });
    this.slider.addEventListener("input", () => viewer.scrollTo(this.plane, Number(this.slider.value)));
    this.root = el(
      "section",
      { class: "pane plane" },
      el("div", { class: "pane-head" }, this.title, this.subtitle, this.grow),
      this.stage,
      el("div", { class: "scrub" }, this.slider),
    );
    this.raster = document.createElement("canvas");
    this.take(plane);
  }

  take(plane) {
    this.plane = plane;
    this.shownRaster = this.shown = null;
    setText(this.title, plane.title);
    Object.assign(this.root.dataset, { testid: `plane-${plane.id}`, plane: plane.id });
    this.root.setAttribute("aria-label", plane.title);
    this.canvas.setAttribute("aria-label", `${plane.title} picture of the volume`);
    this.stage.setAttribute("aria-label", `${plane.title}: arrow keys change the slice`);
    this.slider.setAttribute("aria-label", `${plane.title} slice`);
    this.slider.dataset.testid = `control-slice-${plane.id}`;
    this.slider.max = String(plane.count - 1);
  }

  /** Where the plane lies on a stage of this many CSS or canvas pixels. */
  place(width, height) {
    const { zoom, center } = this.viewer.view;
    const [x, y] = this.plane.toPicture(center).map((value) => value + 0.5);
    return placement(this.plane, { zoom, x, y }, width, height);
  }

  /** Draws what has changed; false where nothing had. */
  draw(ratio) {
    const { viewer, plane } = this;
    const { volume, settings, at } = viewer;
    const index = at[plane.through];
    const size = this.size(ratio);
    const [first, last] = viewer.slab(plane);
    const sharp = viewer.sharpPlane(plane, first, last);
    const source = [first, last, settings.project, sharp, viewer.data.image.blob].join();
    const raster = `${source}|${JSON.stringify(settings.window)}`;
    const place = this.place(size.width, size.height);
    const drawn = JSON.stringify([raster, place, index, viewer.overlayKey]);
    this.placeCross(size, place, ratio);
    if (drawn === this.shown) return false;
    this.shown = drawn;
    this.isSharp = sharp;
    if (raster !== this.shownRaster) this.rasterise(source, sharp, first, last, raster);
    Object.assign(this.root.dataset, { index, sharp, first, last });
    this.label(index, first, last, sharp);
    if (this.canvas.width !== size.width || this.canvas.height !== size.height) Object.assign(this.canvas, size);
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, size.width, size.height);
    this.drawRaster(context, place);
    for (const [id, item] of viewer.shown) {
      if (item instanceof VolumeMap && !viewer.hidden.has(id)) item.draw(context, plane, index, place, settings, ratio);
    }
    for (const [id, item] of viewer.shown) {
      if (item instanceof Mask && !viewer.hidden.has(id)) item.draw(context, plane, index, place, ratio);
    }
    context.setTransform(1, 0, 0, 1, 0, 0);
    drawSides(context, plane, size.width, size.height, ratio, 12);
    drawScaleBar(context, plane, place, size.width, size.height, ratio);
    return Boolean(volume);
  }

  size(ratio) {
    const { width, height } = this.viewer.size;
    return { width: Math.round(width * ratio), height: Math.round(height * ratio) };
  }

  /** Values of the slab, kept while only the window changes, and their grey. */
  rasterise(source, sharp, first, last, key) {
    const { viewer, plane } = this;
    if (this.source !== source) {
      this.source = source;
      const from = sharp && !viewer.volume.complete ? viewer.sharp : viewer.volume;
      this.values = from.plane(plane, first, last, viewer.settings.project);
    }
    const { data, columns, rows } = this.values;
    if (!this.pixels || this.pixels.width !== columns || this.pixels.height !== rows) {
      this.pixels = new ImageData(columns, rows);
      Object.assign(this.raster, { width: columns, height: rows });
    }
    const packed = new Uint32Array(this.pixels.data.buffer);
    const table = viewer.volume.table(viewer.settings.window);
    for (let i = 0; i < packed.length; i += 1) packed[i] = table[data[i] + 32768];
    this.raster.getContext("2d").putImageData(this.pixels, 0, 0);
    this.shownRaster = key;
  }

  drawRaster(context, place) {
    const { pixel, shift } = this.values;
    context.save();
    context.beginPath();
    context.rect(place.left, place.top, this.plane.width * place.sx, this.plane.height * place.sy);
    context.clip();
    context.imageSmoothingEnabled = true;
    const left = place.left + shift[0] * place.sx;
    const top = place.top + shift[1] * place.sy;
    context.setTransform(pixel[0] * place.sx, 0, 0, pixel[1] * place.sy, left, top);
    context.drawImage(this.raster, 0, 0);
    context.restore();
  }

  placeCross(size, place, ratio) {
    const { viewer, plane } = this;
    this.cross.hidden = !viewer.settings.crosshair;
    const [u, v] = plane.toPicture(viewer.at);
    const x = (place.left + (u + 0.5) * place.sx) / ratio;
    const y = (place.top + (v + 0.5) * place.sy) / ratio;
    this.cross.style.transform = `translate(${x}px, ${y}px)`;
  }

  label(index, first, last, sharp) {
    const { plane, viewer } = this;
    const slab = last > first ? ` · ${viewer.settings.project === "min" ? "minimum" : "maximum"} of ${last - first + 1}` : "";
    const text = `${index + 1} / ${plane.count}${slab}${sharp ? "" : " · preview"}`;
    setText(this.subtitle, text);
    this.slider.value = String(index);
    this.slider.setAttribute("aria-valuetext", `slice ${index + 1} of ${plane.count}`);
  }

  showMaximised(on) {
    this.grow.setAttribute("aria-pressed", String(on));
    this.grow.setAttribute("aria-label", on ? "Back to all" : "Enlarge");
    this.grow.title = on ? "Back to all (Esc)" : "Enlarge (double-click)";
    this.grow.replaceChildren(icon(on ? "shrink" : "grow"));
  }
}
