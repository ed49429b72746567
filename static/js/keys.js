// Every page: "/" goes to the search, "?" lists the shortcuts, "g" and a letter go to a section, and "j", "k" and "x" go
// through the rows of a list and choose them.
(() => {
  "use strict";
  const PATIENCE_MS = 1500;
  const typing = (target) => target.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable]");
  let going = 0;

  function toSearch() {
    const box = document.querySelector("[data-search]");
    if (box?.offsetParent) {
      box.focus();
      box.select();
      return true;
    }
    // On a phone the search has a page of its own.
    const link = document.querySelector("[data-search-page]");
    link?.click();
    return Boolean(link);
  }

  // What stands for a row: the link to its page, or its box where it has none.
  const rows = () =>
    [...document.querySelectorAll("#list tbody > tr, #list > ul > li")]
      .map((row) => row.querySelector("th[scope=row] a, h2 a") ?? row.querySelector(".pick input"))
      .filter((each) => each?.offsetParent);
  const rowOf = (element) => element?.closest?.("#list tbody > tr, #list > ul > li");

  function step(by) {
    const all = rows();
    if (!all.length) return false;
    const now = all.findIndex((each) => rowOf(each) === rowOf(document.activeElement));
    const next = all[now < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, now + by))];
    next.focus();
    next.scrollIntoView({ block: "nearest" });
    return true;
  }

  function choose() {
    const box = rowOf(document.activeElement)?.querySelector(".pick input");
    box?.click();
    return Boolean(box);
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (typing(event.target) || document.querySelector("dialog[open]")) return;
    const { key } = event;
    if (going && performance.now() - going < PATIENCE_MS) {
      going = 0;
      const link = document.querySelector(`[data-go="${CSS.escape(key)}"]`);
      if (link) {
        event.preventDefault();
        link.click();
      }
      return;
    }
    going = key === "g" ? performance.now() : 0;
    let done = false;
    if (key === "/") done = toSearch();
    else if (key === "j") done = step(1);
    else if (key === "k") done = step(-1);
    else if (key === "x") done = choose();
    else if (key === "?") {
      document.getElementById("shortcuts")?.showModal();
      done = true;
    }
    if (done) event.preventDefault();
  });
})();
