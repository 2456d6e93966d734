// One number a slice, drawn beside the slider of the slices: bars, a threshold, and the way to the highest.

const STRIP_HEIGHT = 34;

class StripChart {
  /** `viewer` answers goToSlice(index). */
  constructor(viewer) {
    this.viewer = viewer;
    this.title = el("span", { class: "strip-title" });
    this.value = el("span", { class: "strip-value" });
    this.jump = button("highest", { label: "Go to the highest", onclick: () => viewer.goToSlice(this.highest()) });
    this.canvas = el("canvas", { role: "img" });
    this.mark = el("div", { class: "strip-mark", "aria-hidden": "true" });
    this.chart = el("div", { class: "strip-chart" }, this.canvas, this.mark);
    this.chart.addEventListener("click", (event) => {
      const box = this.chart.getBoundingClientRect();
      const part = (event.clientX - box.left) / box.width;
      viewer.goToSlice(Math.min(this.facts.values.length - 1, Math.max(0, Math.floor(part * this.facts.values.length))));
    });
    this.root = el(
      "div",
      { class: "strip" },
      el("div", { class: "strip-head" }, this.title, this.value, this.jump),
      this.chart,
    );
  }

  highest() {
    const { values } = this.facts;
    return values.reduce((best, value, index) => (value !== null && (values[best] ?? -Infinity) < value ? index : best), 0);
  }

  update(facts) {
    this.facts = facts;
    this.root.dataset.testid = `strip-${facts.id}`;
    setText(this.title, facts.title);
    const known = facts.values.filter((value) => value !== null);
    this.jump.disabled = known.length === 0;
    this.jump.setAttribute("aria-label", `Go to the highest: ${facts.title}`);
    this.canvas.setAttribute("aria-label", `${facts.title} of ${known.length} of ${facts.values.length} slices`);
    this.drawn = "";
  }

  place(slice) {
    const { values, unit } = this.facts;
    const value = values[slice];
    setText(this.value, value === null ? "–" : `${formatValue(value)} ${unit}`.trim());
    this.mark.style.left = `${(100 * (slice + 0.5)) / values.length}%`;
    this.draw();
  }

  draw() {
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(this.chart.clientWidth * ratio);
    const height = Math.round(STRIP_HEIGHT * ratio);
    const style = getComputedStyle(this.chart);
    const key = [width, height, style.color, style.getPropertyValue("--accent")].join();
    if (!width || key === this.drawn) return;
    this.drawn = key;
    Object.assign(this.canvas, { width, height });
    const { values, threshold } = this.facts;
    const known = values.filter((value) => value !== null);
    const low = Math.min(0, ...known);
    const high = Math.max(threshold ?? -Infinity, ...known, low + 1e-9);
    const y = (value) => height - 1 - ((value - low) / (high - low)) * (height - 3 * ratio);
    const context = this.canvas.getContext("2d");
    const step = width / values.length;
    context.fillStyle = style.color;
    values.forEach((value, index) => {
      if (value === null) return;
      context.globalAlpha = threshold !== null && value < threshold ? 0.45 : 0.85;
      const [top, zero] = [Math.min(y(value), y(0)), Math.max(y(value), y(0))];
      context.fillRect(index * step, top, Math.max(step - (step > 4 ? 1 : 0), 1), Math.max(1, zero - top));
    });
    context.globalAlpha = 1;
    if (threshold === null) return;
    context.strokeStyle = style.getPropertyValue("--accent");
    context.lineWidth = ratio;
    context.setLineDash([4 * ratio, 3 * ratio]);
    context.beginPath();
    context.moveTo(0, y(threshold));
    context.lineTo(width, y(threshold));
    context.stroke();
  }
}
