// Every page: suggestions below the search at the top, chosen by the arrow keys and Enter, closed by Escape.
(() => {
  "use strict";
  const box = document.querySelector("[data-search]");
  const place = document.getElementById("suggestions");
  if (!box || !place) return;
  const said = document.querySelector("[data-suggestions-said]");
  const options = () => [...place.querySelectorAll('[role="option"]')];
  let at = -1;

  // Said by what makes it true: without this script it is a plain search.
  box.setAttribute("role", "combobox");
  box.setAttribute("aria-autocomplete", "list");
  box.setAttribute("aria-controls", "suggestions");
  box.setAttribute("aria-expanded", "false");

  function show(open) {
    place.hidden = !open;
    box.setAttribute("aria-expanded", String(open && options().length > 0));
    if (!open) mark(-1);
  }

  function mark(next) {
    const all = options();
    at = all.length ? (next + all.length + 1) % (all.length + 1) : -1;
    // One place more than there are options: back in the box.
    if (at === all.length) at = -1;
    all.forEach((option, place_) => option.setAttribute("aria-selected", String(place_ === at)));
    if (at >= 0) {
      box.setAttribute("aria-activedescendant", all[at].id);
      all[at].scrollIntoView({ block: "nearest" });
    } else box.removeAttribute("aria-activedescendant");
  }

  place.addEventListener("htmx:afterSwap", () => {
    at = -1;
    const found = options().length;
    show(document.activeElement === box && box.value.trim() !== "" && place.childElementCount > 0);
    if (said) said.textContent = place.hidden ? "" : found ? `${found - 1} suggestions` : "Nothing matches";
  });

  box.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !place.hidden) {
      event.preventDefault();
      event.stopPropagation();
      show(false);
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (!options().length) return;
      event.preventDefault();
      if (place.hidden) show(true);
      mark(event.key === "ArrowDown" ? at + 1 : at < 0 ? options().length - 1 : at - 1);
    } else if (event.key === "Enter" && at >= 0 && !place.hidden) {
      event.preventDefault();
      options()[at].click();
    }
  });

  box.addEventListener("focus", () => show(box.value.trim() !== "" && place.childElementCount > 0));
  box.closest("form").addEventListener("focusout", (event) => {
    if (!event.currentTarget.contains(event.relatedTarget)) show(false);
  });
  // Pressing an option must not take the focus away before the press is over.
  place.addEventListener("mousedown", (event) => event.preventDefault());
})();
