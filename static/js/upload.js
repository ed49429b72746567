// Models and Datasets: the form takes several files, dropped or chosen, sends two at a time, and remembers what was begun.
// Without this script the browser posts the form as it is, one file at a time.
(() => {
  "use strict";
  const uploads = globalThis.studioUploads;
  const AT_A_TIME = 2;
  const WEIGHTS = /(\.data|\.bin|\.weights|[._]onnx_data)$/i;

  class Zone {
    constructor(form) {
      const set = form.dataset;
      this.form = form;
      this.purpose = set.upload;
      this.endpoint = new URL(set.uploadsAt, location.href).href;
      this.headers = { "X-CSRFToken": form.elements.csrfmiddlewaretoken.value, "X-Tenant-ID": set.workspace };
      // What was begun by somebody else on this machine, or in another workspace, is none of this page's business.
      this.begun = `studio.${set.scope}.${this.purpose}.`;
      this.formats = JSON.parse(document.getElementById("formats")?.textContent ?? "{}");
      this.template = document.querySelector("template[data-upload-row]");
      this.lines = document.querySelector("[data-upload-rows]");
      this.said = document.querySelector("[data-upload-said]");
      this.waiting = [];
      this.working = new Set();
      this.kept = new Map();
      this.count = 0;
      this.cameBesides = false;
    }

    fingerprint(file) {
      return `${this.begun}${file.size}.${file.lastModified}.${encodeURIComponent(file.name)}`;
    }

    say(words) {
      this.said.textContent = words;
    }

    take(file, told, besideOnnx) {
      this.count += 1;
      const line = new uploads.Line(this, file.name, file.size);
      this.kept.get(this.fingerprint(file))?.remove();
      const limit = Number(this.form.dataset.limit);
      const problem =
        (file.size > limit && { detail: `The file has ${uploads.megabytes(file.size)}; at most ${uploads.megabytes(limit)} are accepted.`, code: "file_too_large" }) ||
        (!file.size && { detail: "The file is empty.", fix: "Choose a file with content." }) ||
        (besideOnnx && WEIGHTS.test(file.name) && { detail: "These look like weights that an ONNX model keeps beside it.", fix: "Put the .onnx and its weights into one .zip and upload that.", code: "external_data_missing" }) ||
        (this.isUnderWay(file) && { detail: "This file is on its way already.", fix: "Wait for it." });
      if (problem) line.fail(problem, "refused");
      else this.add(new uploads.Sending(this, file, told, line));
    }

    isUnderWay(file) {
      return [...this.working, ...this.waiting].some((each) => this.fingerprint(each.file) === this.fingerprint(file));
    }

    add(sending) {
      this.waiting.push(sending);
      this.next();
    }

    next(done) {
      this.working.delete(done);
      this.waiting = this.waiting.filter((each) => each !== done);
      while (this.working.size < AT_A_TIME && this.waiting.length) {
        const sending = this.waiting.shift();
        this.working.add(sending);
        sending.start();
      }
      this.offerWhole();
    }

    // A list that is narrowed may not show what has come. Not told before all has come: whoever follows the link ends the rest.
    offerWhole() {
      const whole = this.cameBesides && !this.working.size && document.querySelector("[data-list-everything]")?.href;
      const note = document.querySelector("[data-upload-narrowed]");
      note.hidden = !whole;
      if (whole) note.querySelector("a").href = whole;
    }

    // A file that came alone leads to its page; of several, the list below shows what became of them.
    async finished(page) {
      if (page && this.count === 1) {
        // A list that was narrowed may hide it: it does not come back so.
        const whole = document.querySelector("[data-list-everything]")?.href;
        if (whole) await fetch(whole).catch(() => null);
        return location.assign(page);
      }
      this.cameBesides = true;
      if (document.getElementById("list")) return htmx.ajax("GET", location.href, { target: "#list", swap: "outerHTML" });
      const answer = await fetch(location.href).catch(() => null);
      if (!answer?.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("listed");
      document.getElementById("listed").replaceWith(document.adoptNode(fresh));
      htmx.process(fresh);
    }
  }

  function equip(form) {
    const zone = new Zone(form);
    const { file, name } = form.elements;
    file.multiple = true;
    for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
      form.addEventListener(kind, (event) => {
        if (kind !== "dragleave") event.preventDefault();
        form.classList.toggle("over", kind.startsWith("drage") || kind === "dragover");
        if (kind !== "drop" || !event.dataTransfer.files.length) return;
        file.files = event.dataTransfer.files;
        file.dispatchEvent(new Event("change"));
        form.querySelector("button:not([type])").focus();
      });
    }
    // Of several files each is named after itself.
    file.addEventListener("change", () => (name.disabled = file.files.length > 1));
    form.addEventListener("submit", (event) => {
      // What belongs together goes with the form, as one.
      if (!file.files.length || form.elements.external_data?.files.length) return;
      event.preventDefault();
      const told = Object.fromEntries([...new FormData(form)].filter(([key]) => ["name", "kind", "visibility"].includes(key)));
      const besideOnnx = zone.purpose === "model" && [...file.files].some((each) => /\.onnx$/i.test(each.name));
      for (const each of file.files) zone.take(each, told, besideOnnx);
      file.value = name.value = "";
      name.disabled = false;
    });
    globalThis.addEventListener("online", () => {
      for (const each of [...zone.working]) if (each.line.state === "lost") each.retry();
    });
    uploads.recall(zone);
  }

  document.addEventListener("DOMContentLoaded", () => {
    if (globalThis.tus?.isSupported) for (const form of document.querySelectorAll("form[data-upload]")) equip(form);
  });
})();
