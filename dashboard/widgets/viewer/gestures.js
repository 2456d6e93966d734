// Pointer, wheel, and what the keys do.

const CLICK_TRAVEL = 4;
const DOUBLE_CLICK_MS = 250;

/** Wires one pane's stage: pan, pinch, window, wheel, hover, click and double-click. */
function listenToStage(viewer, pane) {
  const { stage } = pane;
  const pointers = new Map();
  let windowing = false;
  let travel = 0;
  let clickTimer = 0;

  const place = (event) => {
    const box = stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const spread = () => {
    const [one, other] = [...pointers.values()];
    return {
      distance: Math.hypot(one[0] - other[0], one[1] - other[1]),
      middle: [(one[0] + other[0]) / 2, (one[1] + other[1]) / 2],
    };
  };

  stage.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button")) return;
    viewer.root.focus({ preventScroll: true });
    stage.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, place(event));
    windowing = event.button === 2 || event.shiftKey || viewer.settings.dragWindow;
    if (pointers.size === 1) travel = 0;
    viewer.point(place(event));
  });
  stage.addEventListener("pointermove", (event) => {
    const here = place(event);
    const before = pointers.get(event.pointerId);
    if (!before) {
      viewer.point(here);
      return;
    }
    if (pointers.size === 2) {
      const { distance, middle } = spread();
      pointers.set(event.pointerId, here);
      const now = spread();
      viewer.zoomBy(now.distance / Math.max(1, distance), now.middle);
      viewer.panBy(now.middle[0] - middle[0], now.middle[1] - middle[1]);
      travel = Infinity;
      return;
    }
    pointers.set(event.pointerId, here);
    const [dx, dy] = [here[0] - before[0], here[1] - before[1]];
    travel += Math.hypot(dx, dy);
    if (windowing) viewer.windowBy(dx, dy);
    else viewer.panBy(dx, dy);
    viewer.point(here);
  });
  const release = (event) => {
    const known = pointers.delete(event.pointerId);
    if (event.type !== "pointerup" || !known || event.button !== 0 || travel > CLICK_TRAVEL || pointers.size) return;
    const here = place(event);
    if (clickTimer) {
      clearTimeout(clickTimer);
      clickTimer = 0;
      viewer.maximise(pane.id);
      return;
    }
    clickTimer = setTimeout(() => {
      clickTimer = 0;
      viewer.pick(pane.id, here);
    }, DOUBLE_CLICK_MS);
  };
  stage.addEventListener("pointerup", release);
  stage.addEventListener("pointercancel", release);
  stage.addEventListener("pointerleave", () => viewer.point(null));
  stage.addEventListener("contextmenu", (event) => event.preventDefault());
  stage.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      if (event.altKey) {
        viewer.stepSlice(Math.sign(event.deltaY));
      } else {
        const lines = event.deltaMode === 1 ? 33 : 1;
        viewer.zoomBy(Math.exp(-event.deltaY * lines * 0.0015), place(event));
      }
      viewer.point(place(event));
    },
    { passive: false },
  );
}

function keyActions(viewer) {
  const toggles = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((number) => [number, () => viewer.toggleNth(number)]);
  return {
    ...Object.fromEntries(toggles),
    ArrowLeft: () => viewer.page(-1),
    ArrowRight: () => viewer.page(1),
    ArrowUp: () => viewer.stepSlice(-1),
    ArrowDown: () => viewer.stepSlice(1),
    PageUp: () => viewer.stepSlice(-5),
    PageDown: () => viewer.stepSlice(5),
    Escape: () => viewer.restore(),
    "+": () => viewer.zoomBy(1.25),
    "=": () => viewer.zoomBy(1.25),
    "-": () => viewer.zoomBy(0.8),
    r: () => viewer.reset(),
    R: () => viewer.reset(),
    "?": () => viewer.toolbar.showKeys(viewer.toolbar.keys.hidden),
  };
}
