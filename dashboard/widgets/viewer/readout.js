// What lies under the cursor: position, image value and each map's raw value.

class Readout {
  constructor() {
    this.root = el("div", { class: "readout", "data-testid": "readout" });
    this.cells = new Map();
  }

  /** One cell for each number, as wide as its longest text, so that nothing jumps when the cursor moves. */
  layout({ image, panes }) {
    const { size, shape, unit, channels, affine, frame, range } = image;
    const digits = String(Math.max(...size)).length;
    const value = Math.max(...range.map((end) => formatStep(end, valueStep(image)).length));
    const plan = [
      ["position", "", 2 * digits + 5 + (shape[0] > 1 ? 8 + 2 * String(shape[0]).length : 0)],
      ...(affine ? [["world", "", frame === "patient" ? 27 : 16]] : []),
      ["image", "Image", channels === 3 ? 12 : value + withUnit(" ", unit).length + (image.exact ? 0 : 2)],
      ...panes.filter(({ map }) => map).map(({ id, title, map }) => [id, title, 7 + map.unit.length]),
    ];
    const key = JSON.stringify(plan);
    if (this.key === key) return;
    this.key = key;
    this.cells.clear();
    this.root.replaceChildren(
      ...plan.map(([id, label, width]) => {
        const value = el("span", { class: "readout-value", "data-testid": `readout-${id}` }, "–");
        value.style.minWidth = `${width}ch`;
        this.cells.set(id, value);
        const name = label ? [el("span", { class: "readout-label" }, label)] : [];
        return el("span", { class: "readout-cell" }, ...name, value);
      }),
    );
  }

  write({ cursor, picture, slice, overlays, data }) {
    const texts = new Map();
    if (cursor && picture) {
      const { x, y } = cursor;
      const { meta, depth } = picture;
      texts.set("position", `x ${x} y ${y}${depth > 1 ? ` slice ${slice + 1}/${depth}` : ""}`);
      if (meta.affine) texts.set("world", worldText(meta, x, y, slice));
      texts.set("image", imageText(meta, picture.valueAt(x, y, slice)));
      for (const [id, overlay] of overlays) {
        const value = slice === data.slice ? overlay.valueAt(x, y) : null;
        const { signed, unit } = overlay.meta;
        if (value !== null) texts.set(id, `${formatValue(value, signed)} ${unit}`.trim());
      }
    }
    for (const [id, cell] of this.cells) setText(cell, texts.get(id) ?? "–");
  }
}
