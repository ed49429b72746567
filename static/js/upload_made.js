// Models and Datasets: asks the studio to make a model or a data set of a file that has arrived, and what became of it.
(() => {
  "use strict";
  const uploads = globalThis.studioUploads;
  const AGAIN_MS = 3000;
  const FOLLOW_MS = 2000;
  const FOLLOW_TIMES = 300;
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

  async function ask(zone, method, address, body) {
    const headers = { ...zone.headers, Accept: "application/json" };
    if (method === "DELETE") headers["Tus-Resumable"] = "1.0.0";
    if (body) headers["Content-Type"] = "application/json";
    const answer = await fetch(address, { method, headers, body: body && JSON.stringify(body) });
    return { status: answer.status, body: await answer.json().catch(() => null) };
  }

  // Until the studio answers: all bytes are there, so that a cut costs nothing but time.
  async function insist(line, ...request) {
    for (;;) {
      try {
        const answer = await ask(...request);
        if (answer.status < 500) return answer;
      } catch {
        // No connection.
      }
      line.show("lost");
      await pause(AGAIN_MS);
    }
  }

  // The problem in an answer; a page of a proxy or nothing at all is none of ours.
  function problemOf(status, body) {
    if (status === 401 || status === 403) {
      return { detail: "You are no longer signed in as you were.", fix: "Load this page again; what has arrived waits for you." };
    }
    if (body?.detail) return { detail: body.errors?.[0]?.detail ?? body.detail, fix: body.fix, code: body.code };
    return { detail: `The studio answered ${status || "nothing"}.`, fix: "Try again." };
  }

  const forget = async (url) => {
    const storage = tus.defaultOptions.urlStorage;
    for (const kept of await storage.findAllUploads()) {
      if (kept.uploadUrl === url) await storage.removeUpload(kept.urlStorageKey);
    }
  };

  // What the file is, by its content.
  function inWords(zone, row) {
    if (zone.purpose === "model") return `${zone.formats[row.format] ?? row.format}, ${uploads.megabytes(row.size_bytes)}`;
    return `${row.sample_count.toLocaleString("en")} samples${row.has_labels ? ", labelled" : ""}`;
  }

  async function make(zone, line, url, told) {
    line.show("reading");
    const id = url.split("/").filter(Boolean).pop();
    const { status, body } = await insist(line, zone, "POST", zone.form.dataset.makeAt, { upload: id, ...told });
    if (status !== 201 && status !== 200) {
      const refused = status === 422;
      line.fail(problemOf(status, body), refused ? "refused" : "failed");
      if (refused) {
        await forget(url);
        await ask(zone, "DELETE", url).catch(() => null);
      }
      return;
    }
    await forget(url);
    const page = zone.form.dataset.pages && `${zone.form.dataset.pages}${body.id}/`;
    line.name = body.name;
    line.part("name").textContent = body.name;
    line.made(inWords(zone, body), body.sha256, page);
    zone.say(`“${body.name}” is here: ${inWords(zone, body)}.`);
    zone.finished(page);
    // Not waited for: meanwhile the next file is sent.
    if (zone.purpose === "model") follow(zone, line, body);
  }

  // A model is analysed after it was taken in; what is wrong with it, if anything, is found out there.
  async function follow(zone, line, model) {
    for (let time = 0; time < FOLLOW_TIMES && line.element.isConnected; time += 1) {
      await pause(FOLLOW_MS);
      const { status, body } = await ask(zone, "GET", `${zone.form.dataset.makeAt}${model.id}/`).catch(() => ({ status: 0 }));
      if (status === 404) return;
      if (status !== 200 || ["uploaded", "analyzing"].includes(body.status)) continue;
      if (body.status === "failed") line.fail(body.error, "refused");
      else line.show("made", `${inWords(zone, body)}, ready`);
      await zone.finished();
      return;
    }
  }

  Object.assign(uploads, { ask, forget, make, problemOf });
})();
