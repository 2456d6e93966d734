// Where an image lies on its canvas.

/** Where the image lies on a canvas: image coordinate u (pixel i covers [i, i + 1]) is drawn at left + u * sx. */
function placement(picture, view, width, height) {
  const fit = Math.min(
    width / (picture.width * picture.aspect[0]),
    height / (picture.height * picture.aspect[1]),
  );
  const sx = fit * view.zoom * picture.aspect[0];
  const sy = fit * view.zoom * picture.aspect[1];
  return { sx, sy, left: width / 2 - view.x * sx, top: height / 2 - view.y * sy, width, height };
}
