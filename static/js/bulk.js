// Lists whose rows can be chosen: how many are, all of a page at once, and the bar only while there are some.
(() => {
  "use strict";
  const boxes = () => [...document.querySelectorAll('.pick input[form="bulk"]')];
  let last = null;

  function show() {
    const bar = document.querySelector("[data-bulk]");
    if (!bar) return;
    const all = boxes();
    const chosen = all.filter((box) => box.checked).length;
    bar.classList.toggle("chosen", Boolean(chosen));
    bar.querySelector("[data-bulk-said]").textContent = `${chosen} ${chosen === 1 ? bar.dataset.one : bar.dataset.many} chosen`;
    const whole = document.querySelector("[data-bulk-all]");
    if (!whole) return;
    whole.checked = all.length > 0 && chosen === all.length;
    whole.indeterminate = chosen > 0 && chosen < all.length;
  }

  function choose(picked) {
    for (const box of boxes()) box.checked = picked;
    show();
  }

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-bulk-all]")) choose(event.target.checked);
    else if (event.target.matches('.pick input[form="bulk"]')) show();
  });

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-bulk-none]")) return choose(false);
    if (!event.target.matches('.pick input[form="bulk"]')) return;
    // With Shift, everything from the box that was pressed before.
    const all = boxes();
    const [from, to] = [all.indexOf(last), all.indexOf(event.target)].sort((a, b) => a - b);
    if (event.shiftKey && from >= 0) for (const box of all.slice(from, to + 1)) box.checked = event.target.checked;
    last = event.target;
    show();
  });

  document.addEventListener("DOMContentLoaded", show);
  document.addEventListener("htmx:afterSettle", show);
  window.addEventListener("pageshow", show);
})();
