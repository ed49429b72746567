// The frame of a model's Graph tab: starts Netron's viewer for one model, without its telemetry, cookies and links.
const here = new URL("./", location.href);
const asked = new URLSearchParams(location.search);
const dark = matchMedia("(prefers-color-scheme: dark)");
const tell = (state, text = "") => parent.postMessage({ graph: state, text }, "*");

// Netron takes the focus once it has drawn. The page around is not to jump to its frame for that.
const { focus } = HTMLElement.prototype;
HTMLElement.prototype.focus = function (options) {
  focus.call(this, { preventScroll: true, ...options });
};

window.exports = {};
const { Host } = await import(new URL("browser.js", here));
const { View } = await import(new URL("view.js", here));
const layout = (await (await fetch(new URL("dagre.js", here))).text()).replace(/^export .*$/gm, "");

// Runs in the worker, where the layout's own module has put `dagre`.
const answer = () => {
  self.addEventListener("message", ({ data }) => {
    try {
      dagre.layout(data.nodes, data.edges, data.layout, data.state);
      self.postMessage(data);
    } catch (error) {
      self.postMessage({ type: "error", message: error.message });
    }
  });
};

class StudioHost extends Host {
  constructor() {
    super();
    this._environment.menu = false;
    this._environment.packaged = false;
    this._environment.repository = "";
  }

  // Netron's own would ask for consent, look for updates and start telemetry here.
  async view(view) {
    this._view = view;
  }

  async start() {
    const model = new URL(asked.get("model") ?? "", here);
    if (model.origin !== here.origin || !model.pathname.startsWith("/graph/model/")) {
      tell("failed", "The address of the model is not one of the studio.");
      return;
    }
    const name = asked.get("name") ?? "model";
    if (!this._view.accept(name)) {
      tell("failed", "The viewer does not know files of this kind.");
      return;
    }
    const status = await this._openModel(model.href, name, name);
    if (status === "") tell("drawn");
    else tell("failed", this._said ?? "The viewer cannot read this file.");
  }

  // A worker of a frame without an origin can only begin as a blob, and can be no module: it holds the whole layout.
  worker() {
    const blob = new Blob([layout, `;(${answer})();`], { type: "text/javascript" });
    return new Worker(URL.createObjectURL(blob));
  }

  async message(text, alert, action) {
    if (alert) {
      this._said = text;
      tell("failed", text);
      return 0;
    }
    return super.message(text, alert, action);
  }

  openURL() {}
  event() {}
  exception() {}
  get() {}
  set() {}
  delete() {}
}

// The page's theme, not the system's: every rule for the dark is switched by hand.
const DARK = "(prefers-color-scheme: dark)";
const switched = [];
const paint = (theme) => {
  if (switched.length === 0) {
    for (const sheet of document.styleSheets) {
      for (const rule of sheet.cssRules) {
        if (rule instanceof CSSMediaRule && rule.conditionText === DARK) switched.push(rule);
      }
    }
  }
  const wanted = theme ?? (dark.matches ? "dark" : "light");
  document.documentElement.style.colorScheme = wanted;
  for (const rule of switched) rule.media.mediaText = wanted === "dark" ? "all" : "not all";
};
addEventListener("message", (event) => {
  if (event.source === parent && typeof event.data?.theme === "string") paint(event.data.theme);
});
paint(location.hash.slice(1) || undefined);
// Its menu holds what opens other files and other pages.
document.getElementById("menu-button").style.display = "none";
window.__view__ = new View(new StudioHost());
await window.__view__.start();
