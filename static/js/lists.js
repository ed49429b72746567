// Every list: addresses without empty parameters, what is loading or could not be loaded is seen, and the count is said.
(() => {
  "use strict";
  const list = () => document.getElementById("list");
  const isList = (event) => event.detail.target?.id === "list";
  const failed = () => document.querySelector("[data-list-failed]");

  document.addEventListener("htmx:configRequest", (event) => {
    if (!event.target.matches("[data-list-filters]")) return;
    const { parameters } = event.detail;
    for (const [name, value] of Object.entries(parameters)) if (value === "") delete parameters[name];
    // An address without anything means the view that was looked at last.
    if (!Object.keys(parameters).length) parameters.view = "all";
  });

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (isList(event)) list().setAttribute("aria-busy", "true");
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (!isList(event)) return;
    list()?.removeAttribute("aria-busy");
    if (event.detail.successful && failed()) failed().hidden = true;
  });
  for (const name of ["htmx:sendError", "htmx:timeout", "htmx:responseError"])
    document.addEventListener(name, (event) => {
      if (!isList(event) || !failed()) return;
      failed().hidden = false;
      failed().querySelector("[data-list-again]").href = event.detail.pathInfo.finalRequestPath;
    });

  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.target.id !== "list") return;
    const said = document.querySelector("[data-list-said]");
    const total = document.querySelector("[data-list-total]");
    if (said && total) said.textContent = total.textContent;
  });
})();
