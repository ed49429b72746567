// Every page: menus close by Esc, by a click elsewhere and when they are left, and arrows go through them; buttons marked
// data-copy copy their text, and a job's log follows its end.
(() => {
  "use strict";
  const menus = () => document.querySelectorAll("details[data-menu][open]");

  document.addEventListener("click", (event) => {
    for (const menu of menus()) if (!menu.contains(event.target)) menu.open = false;

    const copier = event.target.closest("[data-copy]");
    if (copier) copy(copier);
    const opener = event.target.closest("[data-open]");
    if (opener) {
      for (const menu of menus()) menu.open = false;
      document.getElementById(opener.dataset.open)?.showModal();
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      for (const menu of menus()) {
        menu.open = false;
        menu.querySelector("summary").focus();
      }
    }
    if (event.key === "ArrowDown" || event.key === "ArrowUp") walk(event);
  });

  document.addEventListener("focusout", (event) => {
    for (const menu of menus()) if (event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
  });

  // The arrows open a menu and go round its entries.
  function walk(event) {
    const menu = event.target.closest?.("details[data-menu]");
    if (!menu) return;
    event.preventDefault();
    menu.open = true;
    const entries = [...menu.querySelectorAll("a, button")].filter((each) => each.checkVisibility());
    const now = entries.indexOf(event.target);
    const next = event.key === "ArrowDown" ? now + 1 : (now < 0 ? 0 : now) - 1;
    entries.at(next % entries.length)?.focus();
  }

  async function copy(button) {
    const said = button.querySelector("[data-copy-said]") ?? button;
    const before = said.textContent;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      said.textContent = "Copied";
    } catch {
      said.textContent = "Select and copy by hand";
    }
    setTimeout(() => (said.textContent = before), 1600);
  }

  // A log that is read at its end stays at its end when lines are added; one that is read further up stays there.
  let atEnd = true;
  const log = () => document.querySelector("[data-follow]");
  document.addEventListener("htmx:beforeSwap", () => {
    const lines = log();
    atEnd = !lines || lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
  });
  document.addEventListener("htmx:oobAfterSwap", () => {
    const lines = log();
    if (lines && atEnd) lines.scrollTop = lines.scrollHeight;
  });

  const toEnd = () => {
    const lines = document.querySelector("[data-follow][data-at-end]");
    if (lines) lines.scrollTop = lines.scrollHeight;
  };
  // Not heard where it bubbles, which it does not.
  document.addEventListener("toggle", (event) => event.target.matches(".log-panel") && toEnd(), true);

  document.addEventListener("DOMContentLoaded", () => {
    toEnd();
    // On a phone a row of tabs is wider than the page: the one that is open is in it.
    for (const tab of document.querySelectorAll(".tabs-row [aria-current]")) {
      tab.parentElement.scrollLeft = tab.offsetLeft - (tab.parentElement.clientWidth - tab.offsetWidth) / 2;
    }
  });
})();
