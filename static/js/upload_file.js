// Models and Datasets: one file on its way, sent in pieces by tus-js-client. Each piece is checked by its SHA-256 where the
// browser can compute one, and a cut costs no more than the piece that was under way.
(() => {
  "use strict";
  const uploads = globalThis.studioUploads;
  const PIECE_BYTES = 4 << 20;
  const DELAYS_MS = [500, 1000, 2000, 4000, 8000, ...Array(240).fill(15000)];
  // Of the file itself, which may have been moved or changed since it was chosen.
  const UNREADABLE = new Set(["NotReadableError", "NotFoundError"]);
  // Another request is writing, the piece was damaged, too much at a time: all of these pass.
  const PASSING = new Set([409, 423, 429, 460]);

  async function sealed(request, file) {
    if (request.getMethod() !== "PATCH" || !globalThis.crypto?.subtle) return;
    const from = Number(request.getHeader("Upload-Offset"));
    const piece = await file.slice(from, from + PIECE_BYTES).arrayBuffer();
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", piece));
    request.setHeader("Upload-Checksum", `sha256 ${btoa(String.fromCharCode(...digest))}`);
  }

  class Sending {
    constructor(zone, file, told, line) {
      Object.assign(this, { zone, file, told, line });
      this.upload = new tus.Upload(file, {
        endpoint: zone.endpoint,
        chunkSize: PIECE_BYTES,
        retryDelays: DELAYS_MS,
        metadata: { filename: file.name, purpose: zone.purpose, ...told },
        headers: zone.headers,
        fingerprint: () => Promise.resolve(zone.fingerprint(file)),
        onBeforeRequest: (request) => sealed(request, file),
        onAfterResponse: (_, response) => {
          if (response.getStatus() < 300 && line.state === "lost") line.show("sending");
        },
        onShouldRetry: (error) => this.retries(error),
        onProgress: (sent) => line.state === "sending" && line.progress(sent),
        onError: (error) => this.stopped(error),
        onSuccess: () => this.arrived(),
      });
      line.onAct = (act) => this[act]();
      line.show("queued");
    }

    // A file of which a part has arrived goes on from there.
    async start() {
      this.line.show("sending");
      this.left = false;
      if (!this.upload.url) {
        const [kept] = await this.upload.findPreviousUploads();
        if (this.left) return;
        if (kept) this.upload.resumeFromPreviousUpload(kept);
      }
      this.upload.start();
    }

    retries(error) {
      if (UNREADABLE.has(error.causingError?.name)) return false;
      const status = error.originalResponse?.getStatus() ?? 0;
      const again = !status || PASSING.has(status) || (status >= 500 && status !== 507);
      if (again && !this.left) this.line.show("lost");
      return again;
    }

    stopped(error) {
      const response = error.originalResponse;
      let body = null;
      try {
        body = JSON.parse(response?.getBody() ?? "null");
      } catch {
        // Not an answer of the studio's.
      }
      const gone = UNREADABLE.has(error.causingError?.name);
      this.line.fail(
        gone
          ? { detail: "The file cannot be read any more: it was moved or changed.", fix: "Choose it again." }
          : uploads.problemOf(response?.getStatus(), body),
      );
      this.zone.next(this);
    }

    async arrived() {
      this.line.progress(this.file.size);
      await uploads.make(this.zone, this.line, this.upload.url, this.told);
      this.zone.next(this);
    }

    async pause() {
      this.left = true;
      await this.upload.abort();
      this.line.show("paused");
      this.zone.next(this);
    }

    resume() {
      this.line.show("queued");
      this.zone.add(this);
    }

    // At once, whatever it waits for.
    async retry() {
      this.left = true;
      await this.upload.abort();
      this.zone.next(this);
      this.resume();
    }

    async cancel() {
      this.left = true;
      this.zone.next(this);
      await this.upload.abort(true).catch(() => null);
      if (this.upload.url) await uploads.forget(this.upload.url);
      this.line.remove();
      this.zone.say(`${this.line.name}: given up`);
    }
  }

  Object.assign(uploads, { Sending });
})();
