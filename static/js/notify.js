// Account menu of every page: the switch for notices through the system. It asks for the permission only when it is pressed.
(() => {
  "use strict";
  const control = document.querySelector("[data-notify]");
  if (!control || !("Notification" in globalThis)) return;
  const said = control.querySelector("[data-notify-said]");
  const kept = () => {
    try {
      return localStorage.getItem("studio:notify") === "on";
    } catch {
      return false;
    }
  };

  function show(on) {
    control.setAttribute("aria-checked", String(on));
    said.textContent = Notification.permission === "denied" ? "blocked by the browser" : on ? "on" : "off";
  }

  control.addEventListener("click", async () => {
    const on = !(kept() && Notification.permission === "granted");
    const granted = on && (await Notification.requestPermission()) === "granted";
    try {
      localStorage.setItem("studio:notify", granted ? "on" : "off");
    } catch {
      // Nothing can be kept: it stays off.
    }
    show(granted && kept());
  });

  control.hidden = false;
  show(kept() && Notification.permission === "granted");
})();
