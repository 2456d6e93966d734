// The row of tools above the picture, and the words under it.

const TOOLS = [
  ["brush", "Brush", "M10.5 2.5l3 3-6.5 6.5-3.5.5.5-3.5ZM2 14.5h8"],
  ["box", "Box", "M2.5 3.5h11v9h-11Z"],
  ["eraser", "Eraser", "M9 3l4.5 4.5-5.5 5.5h-3L2.5 10.500ZM6 6l4.500 4.500M8 13h6"],
];
const UNDO = "M3 6.500h6.500a3.500 3.500 0 0 1 0 7H6M3 6.500l3-3M3 6.500l3 3";
const CLEAR = "M4 4l8 8M12 4l-8 8";

function node(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

function glyph(path) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(space, "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

function tool(name, label, path, onclick, pressed = null) {
  const facts = { type: "button", class: "tool", "data-testid": `draw-${name}`, title: label, onclick };
  // Undo and Clear are known by their pictures; the tools say what they are.
  if (pressed === null) return node("button", { ...facts, "aria-label": label }, glyph(path));
  return node("button", { ...facts, "aria-pressed": pressed }, glyph(path), node("span", {}, label));
}

class Tools {
  constructor(drawing) {
    this.chosen = "brush";
    this.buttons = TOOLS.map(([name, label, path]) =>
      tool(name, label, path, () => this.choose(name), String(name === this.chosen)),
    );
    this.size = node("input", { type: "range", min: 1, max: 25, value: 6, "data-testid": "draw-size" });
    this.undo = tool("undo", "Undo", UNDO, () => drawing.undo());
    this.clear = tool("clear", "Clear", CLEAR, () => drawing.clear());
    this.row = node(
      "div",
      { class: "tools" },
      node("span", { class: "set", role: "group", "aria-label": "Tool" }, ...this.buttons),
      node("label", { class: "size" }, node("span", {}, "Size"), this.size),
      node("span", { class: "set" }, this.undo, this.clear),
    );
  }

  choose(name) {
    this.chosen = name;
    this.buttons.forEach((button, index) => button.setAttribute("aria-pressed", String(TOOLS[index][0] === name)));
  }

  able(undo, clear) {
    this.undo.disabled = !undo;
    this.clear.disabled = !clear;
  }
}
