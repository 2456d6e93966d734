// Small helpers for building the page.

/** el("div", {class: "a", onclick: f}, child, "text"). */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

/** Changes text only where it differs: untouched nodes keep selection and spare layout. */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const ICON_PATHS = {
  eye: "M1.5 8S4 3.5 8 3.5 14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8ZM8 10a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z",
  eyeOff: "M2 2l12 12M6.5 3.7A6 6 0 0 1 8 3.5c4 0 6.5 4.5 6.5 4.5a11 11 0 0 1-2 2.5M4 4.8A11 11 0 0 0 1.5 8S4 12.5 8 12.5a6 6 0 0 0 2.7-.7",
  grow: "M9.5 2.5h4v4M13.5 2.5l-4.5 4.5M6.5 13.5h-4v-4M2.5 13.5l4.5-4.5",
  shrink: "M13.5 6.5h-4v-4M9.5 6.5l4.5-4.5M2.5 9.5h4v4M6.5 9.5l-4.5 4.5",
  reset: "M3 8a5 5 0 1 0 1.6-3.7M3 2.5v3h3",
  save: "M8 2v8M4.5 7 8 10.5 11.5 7M2.5 13.5h11",
  outline: "M2.5 5v-2.5h2.5M11 2.5h2.5v2.5M13.5 11v2.5h-2.5M5 13.5h-2.5v-2.5M6 5.5h4l1 2.5-1.5 3h-3l-1.5-3Z",
  dashed: "M3 5.5 4.5 3.5M7 2.5h3M12.5 4.5l.7 2.7M12.5 10l-1.7 2.3M8.5 13.5h-3M3.3 11.5l-.6-2.7",
  cross: "M8 1.5v4.5M8 10v4.5M1.5 8h4.5M10 8h4.5",
  window: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11ZM8 2.5v11M10 5v6M12 6.5v3",
};

function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", ICON_PATHS[name]);
  svg.append(path);
  return svg;
}

/** A button with an icon, a word or both; the word is its name either way. */
function button(name, { iconName, label, title, wordless = false, onclick, pressed }) {
  const node = el("button", {
    type: "button",
    class: wordless ? "icon-button" : "button",
    "data-testid": `control-${name}`,
    title: title ?? label,
    "aria-label": wordless ? label : null,
    "aria-pressed": pressed === undefined ? null : String(pressed),
    onclick,
  });
  if (iconName) node.append(icon(iconName));
  if (!wordless) node.append(el("span", {}, label));
  return node;
}
