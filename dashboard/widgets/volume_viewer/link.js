// Viewers of one group follow each other: crosshair, zoom, window and slab, index by index.

function shareAll(viewer) {
  tellGroup(viewer, (other) => {
    if (!onOneGrid(viewer, other)) return;
    takeOver(viewer, other);
    other.placeAt([...viewer.at]);
  });
}

/** A new image starts where the others of its group are. */
function joinAll(viewer) {
  const other = [...(groups.get(viewer.group) ?? [])].find((one) => one !== viewer && one.volume && onOneGrid(one, viewer));
  if (!other) return;
  takeOver(other, viewer);
  viewer.memory.at = [...other.at];
}

function onOneGrid(one, other) {
  const size = other.data.image.size;
  return one.data.image.size.every((length, axis) => length === size[axis]);
}

function takeOver(from, to) {
  Object.assign(to.view, { zoom: from.view.zoom, center: [...from.view.center] });
  const { slab, project, preset, window } = from.settings;
  Object.assign(to.settings, { slab, project });
  if (from.data.image.unit !== to.data.image.unit) return;
  // A preset's number means something only where the presets are the same.
  const same = JSON.stringify(from.data.image.windows) === JSON.stringify(to.data.image.windows);
  Object.assign(to.settings, { preset: same ? preset : "own", window: { ...window } });
}
