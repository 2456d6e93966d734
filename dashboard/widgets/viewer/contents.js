// Binary data into pictures, maps and outlines: made when the data has arrived, kept as long as it is asked for.

class Contents {
  constructor() {
    this.made = new Map();
  }

  /** {picture, overlays by pane, outlines, waiting}; what has not arrived yet is null or left out. */
  collect({ image, panes, regions }) {
    const before = this.made;
    this.made = new Map();
    const get = (meta, make) => {
      // A map's geometry or unit may change while its values stay, hence all facts and not the hash alone.
      const key = JSON.stringify(meta) + image.blob;
      const entry = blobStore().entries.get(meta.blob);
      const item = before.get(key) ?? (entry && make(entry.buffer));
      if (item) this.made.set(key, item);
      return item ?? null;
    };
    const picture = get(image, (buffer) => new Picture(image, buffer));
    const overlays = new Map();
    for (const { id, map } of panes) {
      const overlay = map && picture && get(map, (buffer) => new Overlay(map, buffer, picture));
      if (overlay) overlays.set(id, overlay);
    }
    const outlines = regions
      .map((meta, index) =>
        meta.box ? new Outline(meta, null, index) : get(meta, (buffer) => new Outline(meta, buffer, index)),
      )
      .filter(Boolean);
    const asked = 1 + panes.filter(({ map }) => map).length + regions.length;
    return { picture, overlays, outlines, waiting: Number(Boolean(picture)) + overlays.size + outlines.length < asked };
  }
}
