// Models and Datasets: the upload form takes dropped files and shows bytes, rate and time left while it sends. It posts the
// form as it is and goes where the answer leads; without this script the browser does the same without the numbers.
(() => {
  "use strict";
  const megabytes = (bytes) => `${(bytes / 1e6).toLocaleString("en", { maximumSignificantDigits: 3 })} MB`;
  const seconds = (s) => (s < 60 ? `${Math.ceil(s)} s` : `${Math.floor(s / 60)} min ${Math.ceil(s % 60)} s`);

  function equip(form) {
    const file = form.querySelector('input[type="file"]');
    const words = form.querySelector("[data-drop-words]");
    if (words) words.hidden = false;
    for (const kind of ["dragenter", "dragover"]) {
      form.addEventListener(kind, (event) => {
        event.preventDefault();
        form.classList.add("over");
      });
    }
    for (const kind of ["dragleave", "drop"]) form.addEventListener(kind, () => form.classList.remove("over"));
    form.addEventListener("drop", (event) => {
      event.preventDefault();
      if (!event.dataTransfer.files.length) return;
      file.files = event.dataTransfer.files;
      file.focus();
    });
    form.addEventListener("submit", (event) => {
      if (!file.files.length) return;
      event.preventDefault();
      send(form, file.files[0]);
    });
  }

  function send(form, file) {
    const box = form.querySelector("[data-upload-progress]");
    const bar = box.querySelector("progress");
    const said = box.querySelector("[data-upload-said]");
    const button = form.querySelector("button:not([type])");
    const limit = Number(form.dataset.limit);
    box.hidden = false;
    if (limit && file.size > limit) {
      said.textContent = `The file has ${megabytes(file.size)}; at most ${megabytes(limit)} are accepted.`;
      return;
    }
    button.disabled = true;
    const request = new XMLHttpRequest();
    const began = performance.now();
    request.upload.addEventListener("progress", (event) => {
      if (!event.lengthComputable) return;
      const passed = (performance.now() - began) / 1000;
      const rate = event.loaded / Math.max(passed, 0.001);
      bar.value = (100 * event.loaded) / event.total;
      const left = event.loaded < event.total ? `, ${seconds((event.total - event.loaded) / rate)} left` : "";
      said.textContent = `${megabytes(event.loaded)} of ${megabytes(event.total)}, ${megabytes(rate)}/s${left}`;
    });
    request.upload.addEventListener("load", () => {
      said.textContent = "Sent. The studio is looking at it.";
    });
    request.addEventListener("load", () => {
      const made = request.status === 201 && request.getResponseHeader("Location");
      if (made) {
        location.assign(made);
        return;
      }
      const answer = new DOMParser().parseFromString(request.responseText, "text/html");
      const again = answer.getElementById(form.id);
      if (again) {
        form.replaceWith(again);
        equip(again);
        again.querySelector('[role="alert"]')?.scrollIntoView({ block: "nearest" });
      } else {
        button.disabled = false;
        const reason = answer.querySelector("main p:not(.num)")?.textContent;
        said.textContent = reason ?? `The studio answered ${request.status}. Try again.`;
      }
    });
    request.addEventListener("error", () => {
      button.disabled = false;
      said.textContent = "The connection was lost, and nothing was kept. Press Upload to try again.";
    });
    request.open("POST", form.action);
    request.setRequestHeader("X-Upload", "1");
    request.send(new FormData(form));
  }

  document.addEventListener("DOMContentLoaded", () => {
    for (const form of document.querySelectorAll("form[data-upload]")) equip(form);
  });
})();
