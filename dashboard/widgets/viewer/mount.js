// What Streamlit calls: once when the viewer appears, and again with each change of its data.

const mounted = new WeakMap();

export default function (component) {
  const { data, parentElement, setStateValue, setTriggerValue } = component;
  let viewer = mounted.get(parentElement);
  if (!viewer) {
    viewer = new Viewer(parentElement);
    mounted.set(parentElement, viewer);
  }
  const token = (viewer.token = {});
  viewer.update(data, { state: setStateValue, trigger: setTriggerValue });
  return () => {
    // Streamlit may run the clean-up of an older call after a newer one; only the newest may end the viewer.
    if (viewer.token !== token) return;
    mounted.delete(parentElement);
    viewer.destroy();
  };
}
