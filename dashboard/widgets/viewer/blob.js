// Keeps one piece of binary data where the viewer finds it: 32 characters of content hash, then the data.
// Streamlit resends an unchanged element as a short reference, so an image travels once however often the page reruns.

const STORE = Symbol.for("sightline.blobs");

export default function ({ data, parentElement }) {
  const store = (globalThis[STORE] ??= { entries: new Map(), changed: new EventTarget() });
  const id = new TextDecoder().decode(data.subarray(0, 32));
  let entry = store.entries.get(id);
  if (!entry) {
    // The copy is aligned, which typed arrays need and a slice of a message is not.
    entry = { buffer: data.slice(32).buffer, owners: new Map() };
    store.entries.set(id, entry);
  }
  const token = {};
  entry.owners.set(parentElement, token);
  store.changed.dispatchEvent(new Event("change"));
  return () => {
    // Streamlit may run the clean-up of an older call after a newer one; only the newest may let go.
    if (entry.owners.get(parentElement) !== token) return;
    entry.owners.delete(parentElement);
    if (entry.owners.size === 0 && store.entries.get(id) === entry) store.entries.delete(id);
  };
}
