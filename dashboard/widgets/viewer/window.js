// From sent numbers to grey, and the sliders that choose how.

/** What the sent numbers look like under a window; holds the table of the last window asked for. */
class WindowTable {
  /** Grey as packed RGBA (indexed by sent number + 32768), or for colour one byte for each. */
  table(meta, window) {
    const key = JSON.stringify([window.center, window.width, window.shape]);
    if (this.key !== key) {
      this.key = key;
      const { scale, offset, inverted } = meta;
      const colour = meta.channels === 3;
      const [count, first] = colour ? [256, 0] : [65536, -32768];
      const table = colour ? new Uint8Array(count) : new Uint32Array(count);
      for (let i = 0; i < count; i += 1) {
        const shown = greyOf((i + first) * scale + offset, window);
        const grey = Math.round(255 * (inverted ? 1 - shown : shown));
        table[i] = colour ? grey : (255 << 24) | (grey << 16) | (grey << 8) | grey;
      }
      this.last = table;
    }
    return this.last;
  }
}

/** Grey in [0, 1]; the same three shapes as the image's own windows. */
function greyOf(value, window) {
  const position = (value - window.center) / window.width;
  if (window.shape === "sigmoid") return 1 / (1 + Math.exp(Math.min(60, Math.max(-60, -4 * position))));
  const grey = Math.min(1, Math.max(0, position + 0.5));
  if (window.shape !== "table") return grey;
  const place = grey * (window.table.length - 1);
  const at = Math.min(Math.floor(place), window.table.length - 2);
  return window.table[at] + (place - at) * (window.table[at + 1] - window.table[at]);
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
