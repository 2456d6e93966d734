// The pictures as one PNG: panes with titles, colour bars and notes, and the caption below.

const SAVED_PANE = 640;
const SAVED_GAP = 16;

/** Draws the grid of `viewer` anew, larger than on the screen, and returns the canvas. */
function composePicture(viewer) {
  const panes = viewer.shownPanes();
  const columns = Math.min(panes.length, viewer.columns);
  const pane = { width: SAVED_PANE, height: Math.round((SAVED_PANE * viewer.size.height) / viewer.size.width) };
  const said = (facts) => [facts.note, facts.trust?.text, facts.doubt].filter(Boolean);
  const [head, scale, note] = [44, 40, 8 + 26 * Math.max(...panes.map(({ facts }) => said(facts).length))];
  const tall = head + pane.height + scale + note;
  const rows = Math.ceil(panes.length / columns);
  const canvas = document.createElement("canvas");
  canvas.width = columns * (pane.width + SAVED_GAP) + SAVED_GAP;
  const measure = canvas.getContext("2d");
  measure.font = `20px ${markFont}`;
  const lines = viewer.data.caption.flatMap((text) => wrapText(measure, text, canvas.width - 2 * SAVED_GAP));
  canvas.height = rows * (tall + SAVED_GAP) + SAVED_GAP + lines.length * 28 + (lines.length ? SAVED_GAP : 0);
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  panes.forEach((shown, index) => {
    const left = SAVED_GAP + (index % columns) * (pane.width + SAVED_GAP);
    const top = SAVED_GAP + Math.floor(index / columns) * (tall + SAVED_GAP);
    context.fillStyle = "#000";
    context.fillRect(left, top, pane.width, tall);
    const piece = document.createElement("canvas");
    Object.assign(piece, pane);
    viewer.drawPane(piece, shown, viewer.drawBase(document.createElement("canvas"), pane), pane, pane.width / viewer.size.width);
    context.filter = shown.facts.doubt && shown.facts.map ? "saturate(0.1)" : "none";
    context.drawImage(piece, left, top + head);
    context.filter = "none";
    drawPaneText(context, shown, left, top, pane, head, scale, said(shown.facts));
  });
  context.fillStyle = "#1b2a30";
  context.font = `20px ${markFont}`;
  context.textAlign = "left";
  const first = rows * (tall + SAVED_GAP) + SAVED_GAP + 20;
  lines.forEach((text, index) => context.fillText(text, SAVED_GAP, first + 28 * index));
  return canvas;
}

function drawPaneText(context, shown, left, top, pane, head, scale, said) {
  const right = left + pane.width - 14;
  const write = (text, x, y, align, colour, font, room) => {
    context.font = `${font} ${markFont}`;
    context.fillStyle = colour;
    context.textAlign = align;
    context.fillText(text, x, y, room);
  };
  write(shown.facts.title, left + 14, top + 29, "left", "#fff", "600 21px", pane.width * 0.55);
  write(shown.facts.subtitle, right, top + 29, "right", "#aebbc0", "17px", pane.width * 0.4);
  const line = top + head + pane.height + 26;
  if (!shown.scale.classList.contains("off")) {
    const [low, high] = [shown.low.textContent, shown.high.textContent];
    context.font = `17px ${markFont}`;
    const [from, to] = [left + 26 + context.measureText(low).width, right - 12 - context.measureText(high).width];
    context.drawImage(shown.bar, from, line - 13, to - from, 14);
    write(low, left + 14, line, "left", "#dfe7ea", "17px");
    write(high, right, line, "right", "#dfe7ea", "17px");
  }
  said.forEach((text, number) => {
    write(text, left + 14, top + head + pane.height + scale + 20 + 26 * number, "left", "#c3ced2", "17px", pane.width - 28);
  });
}

function wrapText(context, text, room) {
  const lines = [];
  let line = "";
  for (const word of text.split(/\s+/)) {
    const longer = line ? `${line} ${word}` : word;
    if (line && context.measureText(longer).width > room) {
      lines.push(line);
      line = word;
    } else {
      line = longer;
    }
  }
  return [...lines, line];
}

function download(canvas, name) {
  canvas.toBlob((blob) => {
    const link = el("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }, "image/png");
}
