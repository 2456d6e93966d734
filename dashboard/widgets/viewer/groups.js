// Viewers of one page with the same group.

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
