// One pane: header, picture, colour bar, note, and what is shown while there is no map.

const STANDINGS = { ok: "✓", weak: "!", fails: "✕", unknown: "?", checking: "…" };

class Pane {
  /** `act` holds what its buttons do: toggle(id), maximise(id), trigger(event, id). */
  constructor(act) {
    this.act = act;
    this.title = el("span", { class: "pane-title" });
    this.subtitle = el("span", { class: "pane-subtitle" });
    this.eye = button("overlay", {
      iconName: "eye",
      label: "Show the map",
      wordless: true,
      pressed: true,
      onclick: () => act.toggle(this.id),
    });
    this.grow = button("maximise", {
      iconName: "grow",
      label: "Enlarge",
      title: "Enlarge (double-click)",
      wordless: true,
      pressed: false,
      onclick: () => act.maximise(this.id),
    });
    this.canvas = el("canvas", { role: "img" });
    this.ring = el("div", { class: "ring", "aria-hidden": "true" });
    this.hint = el("div", { class: "hint", hidden: true });
    this.state = el("div", { class: "state", hidden: true });
    this.doubt = el("div", { class: "doubt", hidden: true });
    this.stage = el("div", { class: "stage" }, this.canvas, this.ring, this.hint, this.doubt, this.state);
    this.low = el("span", { class: "scale-end" });
    this.high = el("span", { class: "scale-end" });
    this.bar = el("canvas", { class: "scale-bar", width: 256, height: 1, "aria-hidden": "true" });
    this.scale = el("div", { class: "scale" }, this.low, this.bar, this.high);
    this.note = el("div", { class: "note" });
    this.standing = el("span", { class: "standing", "aria-hidden": "true" });
    this.judged = el("span", { class: "judged" });
    this.trust = el(
      "button",
      { type: "button", class: "trust", "data-testid": "trust", onclick: () => act.trigger("evidence", this.id) },
      this.standing,
      this.judged,
    );
    this.root = el(
      "section",
      { class: "pane" },
      el("div", { class: "pane-head" }, this.title, this.subtitle, this.eye, this.grow),
      this.stage,
      this.scale,
      this.note,
      this.trust,
    );
    this.shownState = "";
  }

  update(facts) {
    this.facts = facts;
    this.id = facts.id;
    this.root.dataset.testid = `pane-${facts.id}`;
    this.root.dataset.status = facts.status;
    this.root.dataset.map = String(Boolean(facts.map));
    this.root.setAttribute("aria-label", facts.title);
    this.canvas.setAttribute("aria-label", facts.map ? `Image with the map of ${facts.title}` : facts.title);
    setText(this.title, facts.title);
    this.title.title = facts.title;
    setText(this.subtitle, facts.subtitle);
    this.subtitle.title = facts.subtitle;
    this.eye.hidden = !facts.map;
    this.note.dataset.tone = facts.tone;
    setText(this.note, facts.note);
    this.note.title = facts.note;
    this.doubt.hidden = !facts.doubt || !facts.map;
    this.root.dataset.doubt = String(!this.doubt.hidden);
    setText(this.doubt, facts.doubt);
    this.showTrust(facts.trust);
    this.showState();
  }

  showTrust(trust) {
    this.trust.hidden = !trust;
    if (!trust) return;
    this.trust.dataset.standing = trust.standing;
    this.trust.title = trust.more || trust.text;
    this.trust.setAttribute("aria-expanded", String(trust.open));
    setText(this.standing, STANDINGS[trust.standing]);
    setText(this.judged, trust.text);
  }

  get waits() {
    return !this.facts.map && this.facts.status !== "ready";
  }

  showState() {
    const { status, message, progress, id } = this.facts;
    const percent = Math.round(100 * progress);
    this.state.hidden = status === "ready";
    this.state.dataset.overMap = String(Boolean(this.facts.map));
    const key = [status, status === "running" ? "" : message].join("|");
    if (key !== this.shownState) {
      this.shownState = key;
      this.state.replaceChildren(...this.stateParts(status, message, id));
    }
    if (status === "running") {
      setText(this.doing, `${message || "Computing"} `);
      setText(this.percent, `${percent} %`);
      this.fill.style.transform = `scaleX(${progress})`;
      this.track.setAttribute("aria-valuenow", String(percent));
    }
  }

  stateParts(status, message, id) {
    const line = (text) => el("div", { class: "state-text" }, text);
    const act = (name, label) => {
      const node = button(name, { label, onclick: () => this.act.trigger(name, id) });
      node.addEventListener("click", () => {
        // Only once: the answer comes with the next run.
        node.disabled = true;
        if (name === "cancel") setText(node.firstChild, "Stopping…");
      });
      return node;
    };
    if (status === "queued") return [line(message || "Waiting…"), act("cancel", "Cancel")];
    if (status === "running") {
      this.percent = el("span", { class: "percent" });
      this.fill = el("div", { class: "track-fill" });
      this.track = el(
        "div",
        { class: "track", role: "progressbar", "aria-label": "Progress", "aria-valuemin": 0, "aria-valuemax": 100 },
        this.fill,
      );
      this.doing = el("span");
      const text = el("div", { class: "state-text" }, this.doing, this.percent);
      return [text, this.track, act("cancel", "Cancel")];
    }
    if (status === "failed") {
      const text = el("div", { class: "state-text", role: "alert" }, el("strong", {}, "Failed. "), message);
      return [text, act("retry", "Try again")];
    }
    if (status === "cancelled") return [line(message || "Stopped"), act("retry", "Run")];
    return [];
  }

  /** The colour bar: of a map, its range and unit; of the plain image, the window. */
  showScale(overlay, picture, set, visible) {
    this.scale.classList.toggle("off", !visible);
    if (overlay) {
      const { range, meta } = overlay;
      const mode = overlay.mode(set);
      const unit = meta.unit ? ` ${meta.unit}` : "";
      setText(this.low, mode === "signed" ? formatValue(-range) : "0");
      setText(this.high, `${formatValue(range, mode === "signed")}${unit}`);
      this.high.title = meta.range === null ? "99.5th percentile of this map's absolute values" : "common range";
      paintScale(this.bar, (t) => colourAt(overlay.table(set), t), `${overlay.table(set)}`);
    } else if (picture) {
      const { center, width } = set.window;
      const step = valueStep(picture.meta);
      setText(this.low, formatStep(center - width / 2, step));
      setText(this.high, withUnit(formatStep(center + width / 2, step), picture.meta.unit));
      const dark = picture.meta.inverted ? 255 : 0;
      paintScale(this.bar, (t) => `rgb(${[0, 0, 0].map(() => Math.abs(dark - Math.round(255 * t))).join()})`, `grey ${dark}`);
    }
  }

  showOverlaySwitch(on) {
    if (this.eye.getAttribute("aria-pressed") === String(on)) return;
    this.eye.setAttribute("aria-pressed", String(on));
    this.eye.replaceChildren(icon(on ? "eye" : "eyeOff"));
  }

  showMaximised(on) {
    this.grow.setAttribute("aria-pressed", String(on));
    this.grow.setAttribute("aria-label", on ? "Back to all" : "Enlarge");
    this.grow.title = on ? "Back to all (Esc)" : "Enlarge (double-click)";
    this.grow.replaceChildren(icon(on ? "shrink" : "grow"));
  }
}

function paintScale(bar, colour, key) {
  if (bar.dataset.shown === key) return;
  bar.dataset.shown = key;
  const context = bar.getContext("2d");
  for (let x = 0; x < 256; x += 1) {
    context.fillStyle = colour(x / 255);
    context.fillRect(x, 0, 1, 1);
  }
}
