// Streamlit calls the default export again whenever the data change. What belongs to the reader (search text, order,
// scroll position) is kept per list for as long as the page is open, so that it also survives a visit to another page.
const lists = new Map(); // list key -> { search, sort, scroll, pictures, view }
const views = new WeakMap(); // root element -> view

function memoryOf(key) {
  if (!lists.has(key)) {
    lists.set(key, { search: "", sort: "listed", scroll: 0, pictures: {}, view: null });
  }
  return lists.get(key);
}

function element(tag, className, text = "") {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

function matches(row, words) {
  const text = [row.title, row.subtitle, row.group, row.finding, row.id, row.flagged ? "flagged" : ""].join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

function spoken(row) {
  const score = row.score === null ? "" : row.score.toFixed(2);
  return [row.title, row.flagged ? "flagged" : "", row.finding, score, row.subtitle].filter(Boolean).join(", ");
}

function makeOption(row, number) {
  const option = element("div", "option");
  option.id = `option-${number}`;
  option.dataset.id = row.id;
  option.setAttribute("role", "option");
  option.title = [row.title, row.subtitle, row.finding].filter(Boolean).join("\n");
  option.setAttribute("aria-label", spoken(row));
  option.classList.toggle("flagged", row.flagged);

  const picture = element("span", "picture");
  const top = element("span", "line");
  top.append(element("span", "title", row.title));
  if (row.score !== null) {
    const score = element("span", "score");
    if (row.flagged) score.append(element("span", "icon", "▲"));
    score.append(row.score.toFixed(2));
    top.append(score);
  }
  const bottom = element("span", "line quiet");
  bottom.append(element("span", "subtitle", row.subtitle), element("span", "finding", row.finding));
  const words = element("span", "words");
  words.append(top, bottom);
  option.append(picture, words);
  return option;
}

class View {
  constructor(root) {
    this.root = root;
    this.search = root.querySelector(".search");
    this.count = root.querySelector(".count");
    this.list = root.querySelector(".list");
    this.empty = root.querySelector(".empty");
    this.buttons = [...root.querySelectorAll("[data-sort]")];
    this.options = new Map();
    this.shown = [];
    this.selected = "";
    this.active = "";

    this.search.addEventListener("input", () => {
      this.memory.search = this.search.value;
      this.list.scrollTop = 0;
      this.arrange();
    });
    this.search.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown" && this.shown.length) {
        event.preventDefault();
        this.list.focus();
      }
      event.stopPropagation(); // typing must not reach the page's own shortcuts
    });
    for (const button of this.buttons) {
      button.addEventListener("click", () => {
        this.memory.sort = button.dataset.sort;
        this.arrange();
        this.reveal(this.selected);
      });
    }
    this.list.addEventListener("scroll", () => (this.memory.scroll = this.list.scrollTop));
    this.list.addEventListener("focus", () => this.activate(this.shown.includes(this.active) ? this.active : this.startingPoint()));
    this.list.addEventListener("click", (event) => {
      const option = event.target.closest(".option");
      if (option) this.choose(option.dataset.id);
    });
    this.list.addEventListener("keydown", (event) => this.onKey(event));
  }

  update(data, setTriggerValue) {
    const first = !this.memory;
    this.send = setTriggerValue;
    this.memory = memoryOf(data.list);
    this.memory.view = this;
    this.root.style.height = `${data.height}px`;
    this.root.hidden = false;

    const rows = JSON.stringify(data.rows);
    if (rows !== this.rowsText) {
      this.rowsText = rows;
      this.rows = data.rows;
      this.options = new Map(data.rows.map((row, number) => [row.id, makeOption(row, number)]));
      this.showPictures();
      this.search.value = this.memory.search;
      this.arrange();
      this.list.scrollTop = this.memory.scroll;
    }
    const moved = data.selected !== this.selected;
    this.select(data.selected);
    if (moved && !(first && this.memory.scroll)) this.reveal(data.selected);
  }

  showPictures() {
    for (const [id, option] of this.options) {
      const source = this.memory.pictures[id];
      const place = option.querySelector(".picture");
      if (!source || place.firstChild?.src === source) continue;
      const picture = element("img", "");
      picture.alt = "";
      picture.decoding = "async";
      picture.src = source;
      place.replaceChildren(picture);
    }
  }

  arrange() {
    const words = this.memory.search.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = this.rows.filter((row) => matches(row, words));
    const byRisk = this.memory.sort === "risk";
    if (byRisk) rows.sort((a, b) => (b.score ?? -1) - (a.score ?? -1));
    this.shown = rows.map((row) => row.id);

    const content = [];
    if (byRisk) {
      content.push(...this.shown.map((id) => this.options.get(id)));
    } else {
      for (const name of new Set(rows.map((row) => row.group))) {
        const group = element("div", "group");
        const heading = element("div", "heading", name);
        heading.id = `group-${content.length}`;
        group.setAttribute("role", "group");
        group.setAttribute("aria-labelledby", heading.id);
        group.append(heading, ...rows.filter((row) => row.group === name).map((row) => this.options.get(row.id)));
        content.push(group);
      }
    }
    this.list.replaceChildren(...content);
    for (const button of this.buttons) {
      button.setAttribute("aria-pressed", String(button.dataset.sort === this.memory.sort));
    }
    const all = this.rows.length;
    this.count.textContent = rows.length === all ? `${all} case${all === 1 ? "" : "s"}` : `${rows.length} of ${all}`;
    this.list.hidden = !rows.length;
    this.empty.hidden = Boolean(rows.length);
    this.empty.textContent = all ? `No case matches “${this.memory.search.trim()}”.` : "No cases yet.";
    if (!this.shown.includes(this.active)) this.activate("");
  }

  select(id) {
    this.selected = id;
    for (const [name, option] of this.options) {
      option.setAttribute("aria-selected", String(name === id));
    }
  }

  startingPoint() {
    return this.shown.includes(this.selected) ? this.selected : (this.shown[0] ?? "");
  }

  activate(id) {
    this.options.get(this.active)?.classList.remove("active");
    this.active = id;
    const option = this.options.get(id);
    if (!option) {
      this.list.removeAttribute("aria-activedescendant");
      return;
    }
    option.classList.add("active");
    this.list.setAttribute("aria-activedescendant", option.id);
  }

  // Scrolls the list only; scrollIntoView would move the page too.
  reveal(id) {
    const option = this.options.get(id);
    if (!option?.isConnected) return;
    const frame = this.list.getBoundingClientRect();
    const box = option.getBoundingClientRect();
    const heading = option.parentElement.querySelector(".heading")?.offsetHeight ?? 0;
    if (box.top < frame.top + heading) this.list.scrollTop -= frame.top + heading - box.top;
    else if (box.bottom > frame.bottom) this.list.scrollTop += box.bottom - frame.bottom;
  }

  choose(id) {
    this.activate(id);
    if (id === this.selected) return;
    this.select(id); // at once; Python's answer follows with the next data
    this.reveal(id);
    this.send("chosen", id);
  }

  onKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const last = this.shown.length - 1;
    const here = this.shown.indexOf(this.active);
    const steps = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: last, PageDown: here + 6, PageUp: here - 6 };
    if (event.key in steps) {
      this.activate(this.shown[Math.min(Math.max(steps[event.key], 0), last)]);
      this.reveal(this.active);
    } else if ((event.key === "Enter" || event.key === " ") && here >= 0) {
      this.choose(this.active);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }
}

export default function ({ parentElement, data, setTriggerValue }) {
  if (data.pictures) {
    const memory = memoryOf(data.list);
    memory.pictures = data.pictures;
    memory.view?.showPictures();
    return undefined;
  }
  const root = parentElement.querySelector(".worklist");
  if (!views.has(root)) views.set(root, new View(root));
  views.get(root).update(data, setTriggerValue);
  return () => {
    const memory = memoryOf(data.list);
    if (memory.view === views.get(root)) memory.view = null;
    views.delete(root);
  };
}
