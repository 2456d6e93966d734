// The picture and what lies on it, drawn into one canvas of the picture's own pixels.

const FILL = [79, 195, 186, 70];
const EDGE = [120, 235, 225, 255];
const DASH = [255, 206, 110, 255];

class Sheet {
  constructor(canvas, facts, buffer) {
    [this.height, this.width] = facts.shape;
    this.canvas = canvas;
    this.facts = facts;
    canvas.width = this.width;
    canvas.height = this.height;
    this.picture = this.base(new Uint8Array(buffer), facts.channels);
    this.layer = new OffscreenCanvas(this.width, this.height);
  }

  base(bytes, channels) {
    const data = new ImageData(this.width, this.height);
    for (let pixel = 0; pixel < this.width * this.height; pixel += 1) {
      for (let channel = 0; channel < 3; channel += 1) {
        data.data[4 * pixel + channel] = bytes[channels === 3 ? 3 * pixel + channel : pixel];
      }
      data.data[4 * pixel + 3] = 255;
    }
    const picture = new OffscreenCanvas(this.width, this.height);
    picture.getContext("2d").putImageData(data, 0, 0);
    return picture;
  }

  /** outlines: masks shown dashed; box: {x, y, w, h} under way, or null. */
  draw(mask, outlines, box) {
    const { width, height } = this;
    const data = new ImageData(width, height);
    // About two pixels of the screen, however much larger or smaller the picture is shown.
    const scale = Math.max(1, Math.round((1.6 * width) / Math.max(1, this.canvas.clientWidth)));
    for (const outline of outlines) this.edge(data, outline, DASH, scale, true);
    if (mask) {
      for (let pixel = 0; pixel < mask.length; pixel += 1) if (mask[pixel]) data.data.set(FILL, 4 * pixel);
      this.edge(data, mask, EDGE, scale, false);
    }
    this.layer.getContext("2d").putImageData(data, 0, 0);
    const context = this.canvas.getContext("2d");
    context.drawImage(this.picture, 0, 0);
    context.drawImage(this.layer, 0, 0);
    if (box) {
      context.lineWidth = scale;
      for (const [colour, offset] of [["#000", 0], ["#fff", 4 * scale]]) {
        context.strokeStyle = colour;
        context.setLineDash([4 * scale, 4 * scale]);
        context.lineDashOffset = offset;
        context.strokeRect(box.x, box.y, box.w, box.h);
      }
      context.setLineDash([]);
    }
  }

  edge(data, mask, colour, thick, dashed) {
    const { width, height } = this;
    const out = (x, y) => x < 0 || y < 0 || x >= width || y >= height || !mask[y * width + x];
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) {
        if (!mask[y * width + x]) continue;
        if (dashed && Math.floor((x + y) / (5 * thick)) % 2) continue;
        if (out(x - thick, y) || out(x + thick, y) || out(x, y - thick) || out(x, y + thick)) {
          data.data.set(colour, 4 * (y * width + x));
        }
      }
    }
  }
}

/** Marks or clears what a round brush covers between two places; radii in pixels along each axis. */
function stroke(mask, width, height, [x0, y0], [x1, y1], [rx, ry], value) {
  const steps = Math.max(1, Math.ceil(Math.hypot((x1 - x0) / rx, (y1 - y0) / ry) * 3));
  for (let step = 0; step <= steps; step += 1) {
    const x = x0 + ((x1 - x0) * step) / steps;
    const y = y0 + ((y1 - y0) * step) / steps;
    for (let row = Math.max(0, Math.ceil(y - ry)); row <= Math.min(height - 1, Math.floor(y + ry)); row += 1) {
      const half = rx * Math.sqrt(Math.max(0, 1 - ((row - y) / ry) ** 2));
      const first = Math.max(0, Math.ceil(x - half));
      const last = Math.min(width - 1, Math.floor(x + half));
      if (first <= last) mask.fill(value, row * width + first, row * width + last + 1);
    }
  }
}

function fillBox(mask, width, height, box, value) {
  const first = Math.max(0, Math.round(box.x));
  const last = Math.min(width, Math.round(box.x + box.w));
  for (let row = Math.max(0, Math.round(box.y)); row < Math.min(height, Math.round(box.y + box.h)); row += 1) {
    if (first < last) mask.fill(value, row * width + first, row * width + last);
  }
}
