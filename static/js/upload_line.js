// Models and Datasets: one line of the list of files on their way. It shows what it is told, and tells which button was pressed.
globalThis.studioUploads = (() => {
  "use strict";
  const STATES = {
    queued: { says: "Waits for its turn", acts: ["cancel"] },
    sending: { says: "Sending", acts: ["pause", "cancel"] },
    paused: { says: "Paused", acts: ["resume", "cancel"] },
    lost: { says: "No answer; goes on by itself", acts: ["retry", "pause", "cancel"] },
    kept: { says: "Begun earlier", acts: ["cancel"] },
    reading: { says: "All has arrived; the studio is looking at it", acts: [] },
    made: { says: "Taken in", acts: ["dismiss"] },
    failed: { says: "Stopped", acts: ["retry", "cancel"] },
    refused: { says: "Refused", acts: ["dismiss"] },
  };
  const WINDOW_MS = 6000;
  const megabytes = (bytes) => `${(bytes / 1e6).toLocaleString("en", { maximumSignificantDigits: 3 })} MB`;
  const duration = (s) => (s < 60 ? `${Math.ceil(s)} s` : s < 3600 ? `${Math.ceil(s / 60)} min` : `${(s / 3600).toFixed(1)} h`);

  class Line {
    constructor(zone, name, size) {
      this.zone = zone;
      this.name = name;
      this.size = size;
      this.element = zone.template.content.firstElementChild.cloneNode(true);
      this.part("name").textContent = name;
      this.part("bar").setAttribute("aria-label", `${name}: part that has arrived`);
      for (const button of this.element.querySelectorAll("[data-act]")) {
        button.setAttribute("aria-label", `${button.textContent.trim()}: ${name}`);
      }
      this.element.addEventListener("click", (event) => {
        const act = event.target.closest("[data-act]")?.dataset.act;
        if (act === "dismiss") this.remove();
        else if (act) this.onAct?.(act);
      });
      zone.lines.append(this.element);
      zone.lines.hidden = false;
      this.passed = [];
    }

    part(name) {
      return this.element.querySelector(`[data-part="${name}"]`);
    }

    // The state in words, also to those who do not see it, and the buttons that it has.
    show(state, words = STATES[state].says) {
      const changed = state !== this.state || words !== this.words;
      Object.assign(this, { state, words });
      this.part("state").textContent = words;
      this.part("choose").hidden = state !== "kept";
      // How much of what was refused had come says nothing.
      this.part("bar").hidden = state === "refused";
      const focused = this.element.contains(document.activeElement);
      for (const button of this.element.querySelectorAll("[data-act]")) {
        button.hidden = !STATES[state].acts.includes(button.dataset.act);
      }
      if (focused) this.element.querySelector("[data-act]:not([hidden])")?.focus();
      if (!["sending", "lost"].includes(state)) this.passed = [];
      if (!["failed", "refused"].includes(state)) this.part("error").hidden = true;
      if (changed && state !== "queued") this.zone.say(`${this.name}: ${words}`);
    }

    // How much has arrived; while it is sent also how fast, over the last seconds, and how long the rest takes.
    progress(bytes) {
      const now = performance.now();
      this.passed = [...this.passed.filter(([when, then]) => now - when < WINDOW_MS && then <= bytes), [now, bytes]];
      const [since, before] = this.passed[0];
      const rate = (1000 * (bytes - before)) / (now - since);
      let said = `${megabytes(bytes)} of ${megabytes(this.size)}`;
      // When all is sent, the studio still hashes it: nothing is known of how long that takes.
      if (now - since > 500 && rate > 0 && bytes < this.size) said += `, ${megabytes(rate)}/s, ${duration((this.size - bytes) / rate)} left`;
      this.numbers(said);
      this.part("bar").value = (100 * bytes) / this.size;
    }

    numbers(said) {
      this.part("numbers").textContent = said;
      this.part("numbers").hidden = !said;
    }

    // What the studio made of it, with the checksum of what arrived.
    made(words, sha256, address) {
      this.show("made", words);
      this.part("bar").value = 100;
      this.numbers("");
      this.part("hash").textContent = `SHA-256 of what arrived: ${sha256}`;
      this.part("hash").hidden = false;
      const link = this.part("open");
      link.hidden = !address;
      if (address) {
        link.href = address;
        link.setAttribute("aria-label", `Open ${this.name}`);
      }
    }

    fail(problem, state = "failed") {
      this.show(state);
      this.numbers("");
      this.complain(problem);
    }

    complain(problem) {
      this.part("detail").textContent = problem.detail;
      this.part("fix").textContent = problem.fix ?? "";
      const code = this.part("code");
      code.hidden = !problem.code;
      if (problem.code) {
        code.textContent = problem.code;
        code.href = `${this.zone.form.dataset.errors}#${problem.code}`;
      }
      this.part("error").hidden = false;
    }

    remove() {
      this.element.remove();
      this.zone.lines.hidden = !this.zone.lines.children.length;
    }
  }

  return { Line, megabytes };
})();
