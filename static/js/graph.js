// Graph tab of a model's page: opens the viewer in its frame, passes the theme on, and says how it went.
(() => {
  "use strict";
  const frame = document.querySelector("[data-graph]");
  const said = document.querySelector("[data-graph-said]");
  if (!frame || !said) return;

  const theme = () =>
    document.documentElement.dataset.theme ??
    (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

  // The frame has no origin that could be compared: it is known by its window.
  addEventListener("message", (event) => {
    if (event.source !== frame.contentWindow) return;
    const { graph, text } = event.data ?? {};
    if (graph === "drawn") said.textContent = "Scroll to move, Ctrl and scroll to zoom, choose a node to see what it holds.";
    if (graph === "failed") {
      frame.hidden = true;
      said.textContent = `The graph cannot be drawn. ${text} The operators below are what is known of it.`;
    }
  });
  document.addEventListener("studio:theme", () => frame.contentWindow.postMessage({ theme: theme() }, "*"));
  frame.src = `${frame.dataset.graph}#${theme()}`;
})();
