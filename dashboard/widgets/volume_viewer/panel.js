// The fourth cell: what lies under the crosshair, what is drawn over the pictures, and the strips.

class Panel {
  constructor(viewer) {
    this.viewer = viewer;
    this.cells = new Map();
    this.strips = new Map();
    this.readout = el("dl", { class: "place", "data-testid": "readout" });
    this.legend = el("div", { class: "legend", role: "group", "aria-label": "Overlays" });
    this.note = el("div", { class: "legend-note", hidden: true }, "Outlines and maps are those of the slice at the crosshair.");
    this.charts = el("div", { class: "strips" });
    this.root = el("section", { class: "panel", "aria-label": "At the crosshair" }, this.readout, this.legend, this.note, this.charts);
  }

  layout({ image, overlays, strips }) {
    const maps = overlays.filter(({ kind }) => kind === "map");
    const masks = overlays.filter(({ kind }) => kind === "mask");
    const plan = [
      ["position", "Position"],
      ...(image.affine ? [["world", "Place"]] : []),
      ["image", "Value"],
      ...maps.map(({ id, title: name }) => [id, name]),
      ...(masks.length ? [["inside", "Inside"]] : []),
    ];
    const key = JSON.stringify([plan, overlays.map(({ id, kind, signed, title: name }) => [id, kind, signed, name])]);
    if (this.key !== key) {
      this.key = key;
      this.cells = new Map(plan.map(([id]) => [id, el("dd", { class: "readout-value", "data-testid": `readout-${id}` }, "–")]));
      this.readout.replaceChildren(...plan.flatMap(([id, label]) => [el("dt", {}, label), this.cells.get(id)]));
      this.switches = new Map(overlays.map((facts) => [facts.id, this.switchOf(facts)]));
      this.legend.replaceChildren(...[...this.switches.values()].map(({ root }) => root));
      this.legend.hidden = overlays.length === 0;
    }
    const ids = strips.map(({ id }) => id);
    for (const id of this.strips.keys()) if (!ids.includes(id)) this.strips.delete(id);
    for (const facts of strips) {
      if (!this.strips.has(facts.id)) this.strips.set(facts.id, new StripChart(this.viewer));
      this.strips.get(facts.id).update(facts);
    }
    const charts = [...this.strips.values()].map(({ root }) => root);
    if (charts.some((root, index) => this.charts.children[index] !== root) || this.charts.children.length !== charts.length) {
      this.charts.replaceChildren(...charts);
    }
    this.charts.hidden = charts.length === 0;
  }

  switchOf({ id, title }) {
    const input = el("input", { type: "checkbox", "data-testid": `control-show-${id}` });
    input.addEventListener("change", () => this.viewer.toggle(id));
    const swatch = el("canvas", { class: "swatch", width: 44, height: 12, "aria-hidden": "true" });
    const range = el("span", { class: "legend-range" });
    const root = el("label", { class: "legend-row" }, input, swatch, el("span", { class: "legend-title" }, title), range);
    return { root, input, swatch, range };
  }

  update() {
    const { volume, shown, hidden, settings, at, data } = this.viewer;
    for (const [id, { input, swatch, range }] of this.switches) {
      input.checked = !hidden.has(id);
      const item = shown.get(id);
      if (item) this.drawSwatch(swatch, range, item, settings);
    }
    this.note.hidden = settings.slab === "0" || shown.size === 0;
    if (!volume) return;
    const { image } = data;
    const place = (text, id) => setText(this.cells.get(id), text);
    place(`x ${at[0]} y ${at[1]} slice ${at[2] + 1}/${image.size[2]}`, "position");
    if (image.affine) place(worldText(image, ...at), "world");
    const [value, sharp] = this.viewer.valueAt();
    place(`${imageText({ ...image, exact: image.exact && sharp }, [value])}${sharp ? "" : " (preview)"}`, "image");
    const inside = [];
    for (const facts of data.overlays) {
      const item = shown.get(facts.id);
      if (item instanceof Mask && item.contains(at)) inside.push(facts.title);
      if (!(item instanceof VolumeMap)) continue;
      const found = item.valueAt(at);
      const text = found === null ? "–" : `${formatValue(found, facts.signed)} ${facts.unit}`.trim();
      place(found !== null && !facts.exact ? `≈ ${text}` : text, facts.id);
    }
    if (this.cells.has("inside")) place(inside.join(", ") || "–", "inside");
    for (const strip of this.strips.values()) strip.place(at[2]);
  }

  drawSwatch(swatch, range, item, set) {
    const isMap = item instanceof VolumeMap;
    const key = isMap ? item.table(set) + item.range : item.colour;
    if (swatch.dataset.shown === key) return;
    swatch.dataset.shown = key;
    const context = swatch.getContext("2d");
    context.fillStyle = "#000";
    context.fillRect(0, 0, 44, 12);
    if (isMap) {
      for (let x = 0; x < 42; x += 1) {
        context.fillStyle = colourAt(item.table(set), x / 41);
        context.fillRect(x + 1, 1, 1, 10);
      }
      const mode = item.mode(set);
      const most = formatValue(item.range, mode === "signed");
      setText(range, `${mode === "signed" ? formatValue(-item.range) : "0"} to ${most} ${item.meta.unit}`.trim());
      range.title = "99.5th percentile of this map's absolute values";
    } else {
      context.strokeStyle = item.colour;
      context.lineWidth = 2.5;
      context.setLineDash(item.dash);
      context.beginPath();
      context.moveTo(3, 6);
      context.lineTo(41, 6);
      context.stroke();
    }
  }
}
