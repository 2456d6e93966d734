// Viewers of one group follow each other: zoom and place as fractions of each one's own image, and the cursor.

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
