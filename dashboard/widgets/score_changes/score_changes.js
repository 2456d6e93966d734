// Draws the rows it is given; nothing here can be clicked.

const LEAST = 0.05; // a bar's full length is no less: rounding is no change

function cell(tag, className, ...content) {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...content);
  return made;
}

function hidden(made) {
  made.setAttribute("aria-hidden", "true");
  return made;
}

const digits = (value) => value.toFixed(2);

function change({ before, after }, full) {
  const by = after - before;
  const track = hidden(cell("div", "track"));
  const fill = cell("div", `fill ${by < 0 ? "down" : "up"}`);
  fill.style.left = `${50 + (50 * Math.min(0, by)) / full}%`;
  fill.style.width = `${(50 * Math.abs(by)) / full}%`;
  track.append(cell("div", "middle"), fill);
  const small = Math.abs(by) < 0.005;
  const text = small ? "0.00" : `${by < 0 ? "−" : "+"}${digits(Math.abs(by))}`;
  const box = cell("div", "change", track, cell("span", small ? "text quiet" : "text", text));
  return box;
}

function makeRow(row, full) {
  const line = document.createElement("tr");
  line.classList.toggle("chosen", row.chosen);
  line.classList.toggle("turned", Boolean(row.turned));
  line.classList.toggle("alarming", row.alarming);
  const name = cell("th", "name", row.name);
  name.scope = "row";
  name.title = row.name;
  const said = row.turned ? [hidden(cell("span", "icon", "⇄")), row.turned] : [row.decision];
  line.append(
    name,
    cell("td", "number", digits(row.before)),
    cell("td", "number after", digits(row.after)),
    cell("td", "bar", change(row, full)),
    cell("td", "decision", ...said),
  );
  return line;
}

export default function ({ parentElement, data }) {
  // The longest bar is the largest change, so that small ones can be told apart; the heading says how much it is.
  const full = Math.max(LEAST, ...data.rows.map(({ before, after }) => Math.abs(after - before)));
  const heading = parentElement.querySelector("thead .bar");
  heading.textContent = `Change (±${digits(full)})`;
  heading.title = `The longest bar is a change of ${digits(full)}.`;
  parentElement.querySelector("tbody").replaceChildren(...data.rows.map((row) => makeRow(row, full)));
}
