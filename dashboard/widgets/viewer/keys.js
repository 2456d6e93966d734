// Keys.

/**
 * Keys act while the viewer, or nothing at all, has the focus. `actions` go by the name of the key; one that returns
 * false leaves it to the page. Returns the function that stops listening.
 */
function listenToKeys(viewer, actions) {
  const onKey = (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const origin = event.composedPath()[0];
    const within = event.composedPath().includes(viewer.root);
    const idle = document.activeElement === document.body || document.activeElement === null;
    if (!within && !(idle && viewer.inCharge)) return;
    if (event.key !== "Escape" && /^(input|select|textarea)$/i.test(origin.tagName ?? "")) return;
    if (event.repeat && (event.key === "ArrowLeft" || event.key === "ArrowRight")) return;
    const act = actions[event.key];
    if (act && act() !== false) event.preventDefault();
  };
  document.addEventListener("keydown", onKey);
  return () => document.removeEventListener("keydown", onKey);
}
