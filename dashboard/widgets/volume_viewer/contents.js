// Binary data into the volume, masks and maps: made when it has arrived, kept as long as it is asked for.

class Contents {
  constructor() {
    this.made = new Map();
    this.held = new Set();
    this.arrived = new Map();
  }

  /** {volume, overlays by id, missing}: what has not arrived yet is null or left out, and named in `missing`. */
  collect({ image, overlays }) {
    const before = this.made;
    this.made = new Map();
    this.held.clear();
    const missing = [];
    const get = (facts, make) => {
      // Its name, unit and sign may change while the data stays.
      const key = JSON.stringify({ ...facts, title: "", unit: "", signed: false });
      let item = before.get(key);
      if (!item) {
        const buffer = facts.blob ? this.arrived.get(facts.blob) : new ArrayBuffer(NAME_BYTES);
        if (!buffer) {
          missing.push(facts.blob);
          return null;
        }
        item = make(buffer);
      }
      item.meta = facts;
      this.made.set(key, item);
      this.held.add(facts.blob);
      return item;
    };
    const volume = get(image, (buffer) => new Volume(image, buffer));
    const shown = new Map();
    let masks = 0;
    for (const facts of overlays) {
      const isMask = facts.kind === "mask";
      const item = get(facts, (buffer) => (isMask ? new Mask(facts, buffer) : new VolumeMap(facts, buffer)));
      if (item) shown.set(facts.id, item);
      if (item && isMask) item.number = masks;
      masks += Number(isMask);
    }
    this.arrived.clear();
    return { volume, shown, missing };
  }
}
