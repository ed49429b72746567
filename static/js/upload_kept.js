// Models and Datasets: offers to go on with what was begun and not finished, perhaps before the page was loaded again.
(() => {
  "use strict";
  const uploads = globalThis.studioUploads;

  async function recall(zone) {
    for (const kept of await tus.defaultOptions.urlStorage.findAllUploads()) {
      if (!kept.urlStorageKey.startsWith(`tus::${zone.begun}`)) continue;
      const { status, body } = await uploads.ask(zone, "GET", kept.uploadUrl).catch(() => ({ status: 0 }));
      if (status === 404 || status === 410 || body?.made) await uploads.forget(kept.uploadUrl);
      else if (status === 200) offer(zone, kept, body);
    }
  }

  function offer(zone, kept, begun) {
    const { filename, purpose, ...told } = kept.metadata;
    const mark = kept.urlStorageKey.split("::")[1];
    if ([...zone.working, ...zone.waiting].some((each) => zone.fingerprint(each.file) === mark)) return;
    const line = new uploads.Line(zone, filename, begun.length_bytes);
    line.progress(begun.offset_bytes);
    if (begun.offset_bytes === begun.length_bytes) {
      zone.count += 1;
      uploads.make(zone, line, kept.uploadUrl, told);
      return;
    }
    zone.kept.set(mark, line);
    const until = new Date(begun.expires_at).toLocaleString();
    line.numbers(`${line.part("numbers").textContent} have arrived. They wait until ${until}.`);
    line.show("kept");
    line.onAct = async () => {
      await uploads.ask(zone, "DELETE", kept.uploadUrl).catch(() => null);
      await uploads.forget(kept.uploadUrl);
      zone.kept.delete(mark);
      line.remove();
    };
    const again = line.part("again");
    again.setAttribute("aria-label", `Continue ${filename}: choose the same file again`);
    again.addEventListener("change", () => {
      const file = again.files[0];
      if (!file) return;
      if (zone.fingerprint(file) !== mark) {
        line.complain({ detail: `This is another file: its name, size or time of change differs from that of ${filename}.`, fix: "Choose the one that was begun." });
        return;
      }
      zone.kept.delete(mark);
      zone.count += 1;
      zone.add(new uploads.Sending(zone, file, told, line));
    });
  }

  Object.assign(uploads, { recall });
})();
