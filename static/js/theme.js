// Every page, in its head: puts the chosen theme on before anything is drawn, and makes the theme menu work.
(() => {
  "use strict";
  const KEY = "theme";
  const root = document.documentElement;

  const read = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null;
    }
  };
  const put = (choice) => {
    const chosen = choice === "light" || choice === "dark";
    if (chosen) root.dataset.theme = choice;
    else delete root.dataset.theme;
    for (const colour of document.querySelectorAll("meta[data-theme-color]")) {
      const theme = colour.dataset.themeColor;
      if (chosen) colour.media = theme === choice ? "all" : "not all";
      else colour.media = `(prefers-color-scheme: ${theme})`;
    }
  };
  put(read());

  const show = (choice) => {
    for (const button of document.querySelectorAll("[data-theme-choice]")) {
      button.setAttribute("aria-pressed", String(button.dataset.themeChoice === choice));
    }
  };
  const choose = (choice) => {
    try {
      if (choice === "system") localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, choice);
    } catch {
      // Without storage the choice lasts as long as the page.
    }
    put(choice);
    show(choice);
    document.dispatchEvent(new Event("studio:theme"));
  };

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
    document.dispatchEvent(new Event("studio:theme")),
  );
  document.addEventListener("DOMContentLoaded", () => {
    for (const button of document.querySelectorAll("[data-theme-choice]")) {
      button.addEventListener("click", () => choose(button.dataset.themeChoice));
    }
    show(read() ?? "system");
  });
})();
