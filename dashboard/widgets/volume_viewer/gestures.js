// Pointer, wheel, and what the keys do.

const WHEEL_STEP = 60;

/** Wires one picture's stage: crosshair, window, pan, pinch, wheel and double-click. */
function listenToPicture(viewer, picture) {
  const { stage } = picture;
  const pointers = new Map();
  let doing = null;
  let wheeled = 0;

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
  const kindOf = (event) => {
    if (event.button === 2 || event.shiftKey || viewer.settings.dragWindow) return "window";
    return event.button === 1 || event.altKey ? "pan" : "cross";
  };

  stage.addEventListener("pointerenter", () => viewer.activate(picture));
  stage.addEventListener("focus", () => viewer.activate(picture));
  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    viewer.activate(picture);
    pointers.set(event.pointerId, place(event));
    doing = pointers.size > 1 ? "pinch" : kindOf(event);
    if (doing === "cross") viewer.moveTo(picture, place(event));
    if (event.button === 1) event.preventDefault();
  });
  stage.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const here = place(event);
    if (doing === "pinch") {
      if (pointers.size < 2) return;
      const { distance, middle } = spread();
      pointers.set(event.pointerId, here);
      const now = spread();
      viewer.zoomBy(now.distance / Math.max(1, distance), picture, now.middle);
      viewer.panBy(picture, now.middle[0] - middle[0], now.middle[1] - middle[1]);
      return;
    }
    pointers.set(event.pointerId, here);
    const [dx, dy] = [here[0] - before[0], here[1] - before[1]];
    if (doing === "window") viewer.windowBy(dx, dy);
    else if (doing === "pan") viewer.panBy(picture, dx, dy);
    else viewer.moveTo(picture, here);
  });
  const release = (event) => pointers.delete(event.pointerId);
  stage.addEventListener("pointerup", release);
  stage.addEventListener("pointercancel", release);
  stage.addEventListener("dblclick", () => viewer.maximise(picture.plane.id));
  stage.addEventListener("contextmenu", (event) => event.preventDefault());
  stage.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      viewer.activate(picture);
      const turned = event.deltaY * (event.deltaMode === 1 ? 33 : 1);
      if (event.ctrlKey) {
        viewer.zoomBy(Math.exp(-turned * 0.0015), picture, place(event));
        return;
      }
      // A notch of a wheel is one slice; a trackpad's many small turns add up to one.
      wheeled = Math.abs(turned) >= WHEEL_STEP ? Math.sign(turned) * WHEEL_STEP : wheeled + turned;
      const steps = Math.trunc(wheeled / WHEEL_STEP);
      wheeled -= steps * WHEEL_STEP;
      if (steps) viewer.step(picture.plane, steps);
    },
    { passive: false },
  );
}

function keyActions(viewer) {
  const step = (count) => () => viewer.step(viewer.active.plane, count);
  return {
    ArrowUp: step(-1),
    ArrowDown: step(1),
    PageUp: step(-10),
    PageDown: step(10),
    Home: step(-Infinity),
    End: step(Infinity),
    Escape: () => viewer.restore(),
    "+": () => viewer.zoomBy(1.25),
    "=": () => viewer.zoomBy(1.25),
    "-": () => viewer.zoomBy(0.8),
    r: () => viewer.reset(),
    R: () => viewer.reset(),
    x: () => viewer.set("crosshair", !viewer.settings.crosshair),
    X: () => viewer.set("crosshair", !viewer.settings.crosshair),
    "?": () => viewer.toolbar.showKeys(viewer.toolbar.keys.hidden),
  };
}
