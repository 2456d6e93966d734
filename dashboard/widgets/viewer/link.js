// Viewers of one group follow each other: zoom and place as fractions of each one's own image, and the cursor.

const groups = new Map();

function joinGroup(viewer, name) {
  leaveGroup(viewer);
  if (!name) return;
  viewer.group = name;
  groups.set(name, (groups.get(name) ?? new Set()).add(viewer));
}

function leaveGroup(viewer) {
  groups.get(viewer.group)?.delete(viewer);
  viewer.group = null;
}

/** Calls back for each other viewer of the group; what that one does in turn is not passed on. */
function tellGroup(viewer, act) {
  if (viewer.told) return;
  for (const other of groups.get(viewer.group) ?? []) {
    if (other === viewer || !other.picture || !other.size) continue;
    other.told = true;
    act(other);
    other.told = false;
  }
}

function shareView(viewer) {
  const { view, picture } = viewer;
  tellGroup(viewer, (other) => {
    other.view.zoom = view.zoom;
    other.moveTo((view.x / picture.width) * other.picture.width, (view.y / picture.height) * other.picture.height);
  });
}

function shareCursor(viewer) {
  const { cursor, picture } = viewer;
  tellGroup(viewer, (other) => {
    if (!cursor) return other.point(null);
    const at = placement(other.picture, other.view, other.size.width, other.size.height);
    const along = (value, extent, own) => ((value + 0.5) / extent) * own;
    other.point([
      at.left + along(cursor.x, picture.width, other.picture.width) * at.sx,
      at.top + along(cursor.y, picture.height, other.picture.height) * at.sy,
    ]);
  });
}
