// Every page: says when a job of one's own has ended, once in each browser, and on request through the system as well.
(() => {
  "use strict";
  const place = document.querySelector("[data-notices]");
  if (!place) return;
  const EVERY_MS = 8000;
  const HIDDEN_MS = 30_000;
  const SHOWN_MS = 15_000;
  const KEPT = 60;
  const SHOWN = 4;
  const words = { completed: "completed", failed: "failed", cancelled: "was cancelled" };
  const key = `studio:ended:${place.dataset.who}`;
  let waits = null;
  let failures = 0;

  // Without storage, as in some private windows, it is told once in each page.
  let memory = {};
  function recall() {
    try {
      return JSON.parse(localStorage.getItem(key)) ?? {};
    } catch {
      return memory;
    }
  }
  function keep(state) {
    memory = state;
    try {
      localStorage.setItem(key, JSON.stringify(state));
    } catch {
      // Nothing can be kept.
    }
  }

  const notified = () => {
    try {
      return localStorage.getItem("studio:notify") === "on" && globalThis.Notification?.permission === "granted";
    } catch {
      return false;
    }
  };

  function show(job) {
    const toast = document.querySelector(`template[data-notice="${job.status}"]`)?.content.firstElementChild.cloneNode(true);
    if (!toast) return;
    toast.querySelector("[data-notice-words]").textContent = `${job.kind} “${job.name}” ${words[job.status]}.`;
    toast.querySelector("[data-notice-link]").href = job.address;
    toast.querySelector("[data-notice-close]").addEventListener("click", () => toast.remove());
    place.append(toast);
    while (place.childElementCount > SHOWN) place.firstElementChild.remove();
    // It stays while somebody reads it.
    const leave = () => (toast.matches(":hover, :focus-within") ? setTimeout(leave, 2000) : toast.remove());
    setTimeout(leave, SHOWN_MS);
  }

  function tell(job) {
    if (location.pathname.includes(job.id)) return;
    if (document.hidden && notified()) {
      const notice = new Notification(`${job.kind} ${words[job.status]}`, { body: job.name, tag: job.id });
      notice.addEventListener("click", () => {
        window.focus();
        location.assign(job.address);
      });
    }
    show(job);
  }

  async function ask() {
    const before = recall();
    const answer = await fetch(`${place.dataset.ended}?since=${encodeURIComponent(before.since ?? "")}`, { headers: { Accept: "application/json" }, redirect: "error" });
    if (!answer.ok) throw new Error(String(answer.status));
    const { since, jobs } = await answer.json();
    // Another window may have told some of it meanwhile.
    const { told = [], since: known } = recall();
    const fresh = jobs.filter((job) => !told.includes(job.mark));
    keep({ since, told: [...told, ...fresh.map((job) => job.mark)].slice(-KEPT) });
    // Whatever had ended before anybody looked is no news.
    if (known) fresh.reverse().forEach(tell);
  }

  async function go() {
    clearTimeout(waits);
    if (!document.hidden || notified()) {
      try {
        await ask();
        failures = 0;
      } catch {
        failures += 1;
      }
    }
    clearTimeout(waits);
    // Hidden and not asked to notify: it goes on when the page is seen again.
    if (document.hidden && !notified()) return;
    waits = setTimeout(go, (document.hidden ? HIDDEN_MS : EVERY_MS) * 2 ** Math.min(failures, 4));
  }

  document.addEventListener("visibilitychange", () => !document.hidden && go());
  go();
})();
