// Drawing a region on a picture. The region lives here while it is drawn; Python is told when a stroke has ended.

const KEPT = 30; // strokes that can be undone
const HELP =
  "Drawing surface. With the arrow keys place a box, with Shift and the arrow keys size it; Enter adds it, " +
  "Delete erases it, Escape lets it go.";
const shown = new WeakMap(); // parent element -> drawing

class Drawing {
  constructor(parent) {
    this.canvas = node("canvas", { "data-testid": "draw-canvas" });
    this.stage = node("div", { class: "stage" }, this.canvas);
    this.title = node("p", { class: "title" });
    this.status = node("span", { role: "status" });
    this.legend = node("span", { class: "legend" });
    this.tools = new Tools(this);
    this.root = node("div", { class: "drawing" }, this.title, this.tools.row, this.stage);
    this.root.append(node("p", { class: "foot" }, this.status, this.legend));
    parent.append(this.root);
    this.mask = null;
    this.past = [];
    this.box = null;
    this.listen();
    this.arrived = () => this.fill();
    blobStore().changed.addEventListener("change", this.arrived);
    this.resized = new ResizeObserver(() => this.paint());
    this.resized.observe(this.stage);
  }

  update(data, send) {
    this.data = data;
    this.send = send;
    this.title.textContent = data.title;
    this.root.classList.toggle("still", !data.editable); // its tools hold their place, so that two pictures are level
    this.canvas.tabIndex = data.editable ? 0 : -1;
    this.canvas.setAttribute("role", data.editable ? "application" : "img");
    this.canvas.setAttribute("aria-label", data.editable ? `${data.title}. ${HELP}` : data.title);
    this.fill();
  }

  /** Takes up the picture once its bytes are there, and the region where it is not this drawing's own. */
  fill() {
    const { image, version, runs, outlines, editable } = this.data ?? {};
    const entry = image && blobStore().entries.get(image.blob);
    if (!entry) return;
    if (this.sheet?.facts.blob !== image.blob) {
      this.sheet = new Sheet(this.canvas, image, entry.buffer);
      this.stage.style.aspectRatio = String(image.aspect);
      this.stage.style.setProperty("--aspect", String(image.aspect));
      this.root.dataset.ready = image.blob;
    }
    const { width, height } = this.sheet;
    const own = `${version} ${image.blob}`;
    if (this.own !== own || !editable) {
      this.mask = fromRuns(runs, width * height);
      if (this.own !== own) [this.past, this.box] = [[], null];
      this.own = own;
    }
    this.outlines = outlines.map((one) => fromRuns(one.runs, width * height));
    this.legend.textContent = outlines.length ? `Dashed: ${outlines.map(({ title }) => title).join(", ")}` : "";
    this.paint();
  }

  paint() {
    if (!this.sheet) return;
    this.sheet.draw(this.mask, this.outlines, this.box);
    if (!this.data.editable) return;
    let count = 0;
    for (const pixel of this.mask) count += pixel;
    const share = (100 * count) / this.mask.length;
    this.root.dataset.share = share.toFixed(2);
    this.status.textContent = count
      ? `Region: ${share < 0.1 ? "under 0.1" : share.toFixed(1)} % of the picture`
      : "Nothing is drawn";
    this.tools.able(this.past.length > 0, count > 0);
  }

  remember() {
    this.past.push(this.mask.slice());
    if (this.past.length > KEPT) this.past.shift();
  }

  tell() {
    this.paint();
    this.send("drawn", { version: this.data.version, blob: this.data.image.blob, runs: toRuns(this.mask) });
  }

  undo() {
    if (!this.past.length) return;
    this.mask = this.past.pop();
    this.tell();
  }

  clear() {
    this.remember();
    this.mask = new Uint8Array(this.mask.length);
    this.tell();
  }

  /** Where a pointer is, in pixels of the sheet. */
  place(event) {
    const area = this.canvas.getBoundingClientRect();
    const x = ((event.clientX - area.left) / area.width) * this.sheet.width;
    const y = ((event.clientY - area.top) / area.height) * this.sheet.height;
    return [x, y];
  }

  /** Round on the screen, also where pixels are not square. */
  get radii() {
    const rx = Math.max(0.6, (Number(this.tools.size.value) / 200) * this.sheet.width);
    return [rx, Math.max(0.6, (rx * this.sheet.height * this.data.image.aspect) / this.sheet.width)];
  }

  listen() {
    const { canvas } = this;
    let from = null;
    canvas.addEventListener("pointerdown", (event) => {
      if (!this.data.editable || event.button !== 0 || from || !this.sheet) return;
      event.preventDefault();
      canvas.focus({ preventScroll: true });
      canvas.setPointerCapture(event.pointerId);
      from = this.place(event);
      this.remember();
      this.box = null;
      if (this.tools.chosen !== "box") this.brush(from, from);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!from) return;
      if (this.tools.chosen === "box") {
        const [x, y] = this.place(event);
        this.box = { x: Math.min(x, from[0]), y: Math.min(y, from[1]), w: Math.abs(x - from[0]), h: Math.abs(y - from[1]) };
        this.soon();
        return;
      }
      const moves = event.getCoalescedEvents?.() ?? [];
      for (const move of moves.length ? moves : [event]) {
        const here = this.place(move);
        this.brush(from, here);
        from = here;
      }
    });
    const end = (event) => {
      if (!from) return;
      from = null;
      if (event.type === "pointercancel") {
        this.mask = this.past.pop();
        this.box = null;
        this.paint();
        return;
      }
      if (this.tools.chosen === "box") {
        if (this.box) fillBox(this.mask, this.sheet.width, this.sheet.height, this.box, 1);
        this.box = null;
      }
      this.tell();
    };
    canvas.addEventListener("pointerup", end);
    canvas.addEventListener("pointercancel", end);
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  brush(from, to) {
    stroke(this.mask, this.sheet.width, this.sheet.height, from, to, this.radii, this.tools.chosen === "eraser" ? 0 : 1);
    this.soon();
  }

  /** At most one picture a frame. */
  soon() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.paint();
    });
  }

  key(event) {
    if (!this.data.editable || !this.sheet || event.ctrlKey || event.metaKey || event.altKey) {
      if ((event.ctrlKey || event.metaKey) && event.key === "z") this.undo();
      return;
    }
    const { width, height } = this.sheet;
    const step = Math.max(1, Math.round(width / 50));
    const arrows = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    const [dx, dy] = arrows[event.key] ?? [0, 0];
    if (dx || dy) {
      this.box ??= { x: Math.round(width * 0.4), y: Math.round(height * 0.4), w: Math.round(width / 5), h: Math.round(height / 5) };
      const box = this.box;
      if (event.shiftKey) [box.w, box.h] = [Math.max(step, box.w + dx), Math.max(step, box.h + dy)];
      else [box.x, box.y] = [box.x + dx, box.y + dy];
      box.w = Math.min(box.w, width);
      box.h = Math.min(box.h, height);
      box.x = Math.min(Math.max(0, box.x), width - box.w);
      box.y = Math.min(Math.max(0, box.y), height - box.h);
      this.paint();
      const parts = [box.w / width, box.h / height, box.x / width, box.y / height].map((one) => `${Math.round(100 * one)} %`);
      this.status.textContent = `Box ${parts[0]} wide, ${parts[1]} high, ${parts[2]} from the left, ${parts[3]} from the top`;
    } else if (["Enter", " ", "Delete", "Backspace"].includes(event.key) && this.box) {
      this.remember();
      fillBox(this.mask, width, height, this.box, event.key === "Enter" || event.key === " " ? 1 : 0);
      this.box = null;
      this.tell();
    } else if (event.key === "Escape" && this.box) {
      this.box = null;
      this.paint();
    } else if (event.key === "Tab" || event.key === "Shift") {
      return;
    } else {
      event.stopPropagation();
      return;
    }
    event.preventDefault();
    event.stopPropagation(); // the arrows belong to the drawing while it has the focus
  }

  destroy() {
    blobStore().changed.removeEventListener("change", this.arrived);
    this.resized.disconnect();
    cancelAnimationFrame(this.frame);
    this.root.remove();
  }
}

export default function ({ data, parentElement, setTriggerValue }) {
  let drawing = shown.get(parentElement);
  if (!drawing) {
    drawing = new Drawing(parentElement);
    shown.set(parentElement, drawing);
  }
  const token = (drawing.token = {});
  drawing.update(data, setTriggerValue);
  return () => {
    // Streamlit may run the clean-up of an older call after a newer one; only the newest may end the drawing.
    if (drawing.token !== token) return;
    shown.delete(parentElement);
    drawing.destroy();
  };
}
