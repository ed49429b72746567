// Django's admin pages: what scrolls sideways is reached by the keyboard; the two fields of a moment, and fields in tables,
// have names; and hints drawn as pictures say that they are.
(() => {
  "use strict";
  for (const box of document.querySelectorAll(".inline-group, .results")) {
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", box.querySelector("h2")?.textContent.trim() || "Table");
  }
  for (const [kind, name] of [["vDateField", "Date"], ["vTimeField", "Time"]]) {
    for (const field of document.querySelectorAll(`.datetime .${kind}`)) field.setAttribute("aria-label", name);
  }
  for (const field of document.querySelectorAll(".tabular td :is(input:not([type=hidden]), select, textarea)")) {
    const cell = field.closest("td");
    const head = cell.closest("table").querySelectorAll("thead th")[cell.cellIndex];
    if (!field.labels?.length && head) field.setAttribute("aria-label", head.textContent.trim().replace("?", ""));
  }
  // Made by Django's own script, which waits for the page as well and was there first.
  addEventListener("load", () => {
    for (const hint of document.querySelectorAll(".help-tooltip[aria-label]")) hint.setAttribute("role", "img");
  });
})();
