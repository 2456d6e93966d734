// A table whose rows are the options of one radio group: the browser's own radio buttons bring the keyboard and the
// roles, the table brings the columns.
const views = new WeakMap(); // root element -> view
let groups = 0;

const KEYBOARD_PAUSE_MS = 250; // an explanation is costly: passing over rows with the arrows asks for none

function element(tag, className = "", text = "") {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

function hidden(node) {
  node.setAttribute("aria-hidden", "true");
  return node;
}

function probabilityBar(row) {
  const track = hidden(element("div", "track"));
  const fill = element("div", "fill");
  fill.style.width = `${row.probability * 100}%`;
  track.append(fill);
  if (row.threshold !== null) {
    const tick = element("div", "tick");
    tick.style.left = `${row.threshold * 100}%`;
    track.append(tick);
  }
  return track;
}

function cell(className, ...content) {
  const node = element("td", className);
  node.append(...content);
  return node;
}

function truthCell(truth) {
  if (truth === null) return cell("truth", "–");
  return truth ? cell("truth present", hidden(element("span", "icon", "✓")), "present") : cell("truth", "absent");
}

function makeRow(row, group) {
  const line = element("tr", row.flagged ? "flagged" : "");
  const name = element("th", "name");
  name.scope = "row";
  const label = element("label");
  const radio = element("input");
  radio.type = "radio";
  radio.name = group;
  radio.value = row.index;
  const text = element("span", "text", row.name);
  text.title = row.name;
  label.append(radio, text);
  name.append(label);

  const decision = cell("decision");
  if (row.flagged) decision.append(hidden(element("span", "icon", "▲")));
  decision.append(row.decision);
  line.append(
    name,
    cell("bar", probabilityBar(row)),
    cell("number p", row.probability.toFixed(2)),
    cell("number", row.threshold === null ? "–" : row.threshold.toFixed(2)),
    decision,
    truthCell(row.truth),
  );
  return line;
}

class View {
  constructor(root) {
    this.root = root;
    this.body = root.querySelector("tbody");
    this.note = root.querySelector(".note");
    this.group = `findings-${(groups += 1)}`;
    this.body.addEventListener("click", (event) => {
      const radio = event.target.closest("tr")?.querySelector("input");
      if (!radio || event.detail === 0) return; // 0: an arrow key, which "change" answers
      radio.checked = true;
      radio.focus({ preventScroll: true });
      this.choose(Number(radio.value));
    });
    this.body.addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        event.preventDefault();
        this.choose(Number(event.target.value));
      }
      event.stopPropagation(); // the arrows belong to the table while it has the focus
    });
    this.body.addEventListener("change", (event) => {
      const index = Number(event.target.value);
      this.mark(index);
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.choose(index), KEYBOARD_PAUSE_MS);
    });
  }

  update(data, setTriggerValue) {
    this.send = setTriggerValue;
    this.root.hidden = false;
    this.root.querySelector("thead .bar").textContent = data.calibrated
      ? "Probability, calibrated"
      : "Uncalibrated score";
    this.root.classList.toggle("with-truth", data.rows.some((row) => row.truth !== null));
    this.note.textContent = data.rows.length ? data.note : "No findings.";
    this.note.hidden = !this.note.textContent;

    const text = JSON.stringify(data.rows);
    if (text !== this.text) {
      this.text = text;
      const focused = this.root.getRootNode().activeElement?.value;
      this.body.replaceChildren(...data.rows.map((row) => makeRow(row, this.group)));
      if (focused) this.body.querySelector(`input[value="${focused}"]`)?.focus({ preventScroll: true });
    }
    clearTimeout(this.timer);
    this.chosen = data.chosen;
    this.mark(data.chosen);
  }

  mark(index) {
    for (const radio of this.body.querySelectorAll("input")) {
      radio.checked = Number(radio.value) === index;
      radio.closest("tr").classList.toggle("chosen", radio.checked);
    }
  }

  choose(index) {
    clearTimeout(this.timer);
    this.mark(index);
    if (index === this.chosen) return;
    this.chosen = index; // at once; Python's answer follows with the next data
    this.send("chosen", index);
  }
}

export default function ({ parentElement, data, setTriggerValue }) {
  const root = parentElement.querySelector(".findings");
  if (!views.has(root)) views.set(root, new View(root));
  const view = views.get(root);
  view.update(data, setTriggerValue);
  return () => {
    clearTimeout(view.timer);
    views.delete(root);
  };
}
