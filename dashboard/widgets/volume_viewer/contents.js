// Binary data into the volume, masks and maps: made when it has arrived, kept as long as it is asked for.

class Contents {
  constructor() {
    this.made = new Map();
    this.held = new Set();
    this.received = 0;
  }

  /** {volume, overlays by id, missing}: what has not arrived yet is null or left out, and named in `missing`. */
  collect({ image, overlays }) {
    const before = this.made;
    this.made = new Map();
    this.held.clear();
    const missing = [];
    const get = (facts, make) => {
      const key = JSON.stringify(facts);
      let item = before.get(key);
      if (!item) {
        const entry = facts.blob ? blobStore().entries.get(facts.blob) : { buffer: new ArrayBuffer(0) };
        if (!entry) {
          missing.push(facts.blob);
          return null;
        }
        this.received += entry.buffer.byteLength;
        item = make(entry.buffer);
      }
      this.made.set(key, item);
      this.held.add(facts.blob);
      return item;
    };
    const volume = get(image, (buffer) => new Volume(image, buffer));
    const shown = new Map();
    let masks = 0;
    for (const facts of overlays) {
      const index = facts.kind === "mask" ? masks++ : 0;
      const item = get(facts, (buffer) => (facts.kind === "mask" ? new Mask(facts, buffer, index) : new VolumeMap(facts, buffer)));
      if (item) shown.set(facts.id, item);
    }
    return { volume, shown, missing };
  }
}
