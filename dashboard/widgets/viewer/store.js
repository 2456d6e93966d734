// Where the pieces of binary data arrive, by content hash (see blob.js).

const STORE = Symbol.for("sightline.blobs");
const blobStore = () => (globalThis[STORE] ??= { entries: new Map(), changed: new EventTarget() });
