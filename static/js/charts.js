// What the charts of all pages share: numbers from the page, colours of the theme, and drawing again when these change.
globalThis.studioCharts = (() => {
  "use strict";
  const read = (id) => JSON.parse(document.getElementById(id)?.textContent ?? "null");
  const precise = (value, digits = 3) => Number(value.toPrecision(digits)).toString();
  const charts = [];

  // Canvas takes no CSS variables and not every colour notation, so the browser is asked what a colour is in sRGB.
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  function colour(name, alpha = 1) {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(`--color-${name}`).trim();
    canvas.fillRect(0, 0, 1, 1);
    const [red, green, blue] = canvas.getImageData(0, 0, 1, 1).data;
    return `rgba(${red}, ${green}, ${blue}, ${alpha})`;
  }

  function look() {
    const mono = getComputedStyle(document.querySelector(".num")).fontFamily;
    const text = { color: colour("base-content", 0.75), fontFamily: mono, fontSize: 11 };
    const axis = {
      axisLine: { lineStyle: { color: colour("base-content", 0.3) } },
      axisTick: { show: false },
      axisLabel: { ...text, hideOverlap: true },
      nameTextStyle: text,
      splitLine: { lineStyle: { color: colour("base-content", 0.09) } },
    };
    return {
      axis,
      text,
      shared: {
        animation: false,
        aria: { enabled: false },
        grid: { left: 16, right: 40, top: 48, bottom: 16, containLabel: true },
        // Drawn on the canvas: a tooltip made of HTML would carry style attributes, which the page's policy forbids.
        tooltip: {
          trigger: "axis",
          renderMode: "richText",
          confine: true,
          backgroundColor: colour("base-100"),
          borderColor: colour("base-content", 0.3),
          textStyle: { ...text, color: colour("base-content") },
          axisPointer: { lineStyle: { color: colour("base-content", 0.4) } },
        },
      },
    };
  }

  // Draws a chart where the page has a place for it, reachable by Tab, with whatever buttons the page has for it.
  function draw(id, option) {
    const place = document.getElementById(id);
    if (!place) return null;
    const chart = echarts.init(place, null, { renderer: "canvas" });
    const drawn = { chart, option };
    charts.push(drawn);
    chart.setOption(option());
    steps(place, chart);
    tools(id, chart);
    return drawn;
  }

  function redraw(drawn, option) {
    drawn.option = option;
    drawn.chart.setOption(option(), true);
  }

  // How many values a series has; those of a treemap lie within one another.
  const size = (data) => data.reduce((sum, each) => sum + 1 + (each?.children ? size(each.children) : 0), 0);

  // Arrows step through the values, each told as the pointer would have it told; + and − zoom where there is zooming.
  function steps(place, chart) {
    let [series, value] = [0, -1];
    place.tabIndex = 0;
    place.addEventListener("blur", () => chart.dispatchAction({ type: "hideTip" }));
    place.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const { dataZoom, series: all } = chart.getOption();
      const told = all.flatMap((each, at) => (each.silent || !each.data?.length ? [] : [at]));
      const count = told.length ? size(all[told[series % told.length]].data) : 0;
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const turn = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      const zoom = { "+": 0.25, "=": 0.25, "-": -0.5 }[event.key];
      if (event.key === "Escape") return void chart.dispatchAction({ type: "hideTip" });
      if (zoom && dataZoom?.length) {
        const [{ start, end }] = dataZoom;
        const by = (end - start) * zoom;
        chart.dispatchAction({ type: "dataZoom", start: Math.max(0, start + by), end: Math.min(100, end - by) });
      } else if (count && event.key === "Home") value = 0;
      else if (count && event.key === "End") value = count - 1;
      else if (count && step) value = value < 0 && step < 0 ? count - 1 : (value + step + count) % count;
      else if (told.length > 1 && turn) series = (series + turn + told.length) % told.length;
      else return;
      event.preventDefault();
      if (!zoom && value >= 0) chart.dispatchAction({ type: "showTip", seriesIndex: told[series % told.length], dataIndex: value });
    });
  }

  function tools(id, chart) {
    for (const button of document.querySelectorAll(`[data-png="${id}"], [data-csv="${id}"]`)) {
      button.addEventListener("click", () => {
        if (button.dataset.png) picture(chart, (blob) => download(blob, `${id}.png`));
        else download(new Blob(["\ufeff", csv(document.getElementById(button.dataset.table))], { type: "text/csv" }), `${id}.csv`);
      });
    }
  }

  // The picture is made of the canvas by the browser itself: no address is fetched, which the page's policy forbids.
  function picture(chart, done) {
    chart.renderToCanvas({ pixelRatio: 2, backgroundColor: colour("base-100") }).toBlob(done, "image/png");
  }

  function download(blob, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    // A busy browser takes its time before it reads the address.
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  // A table for spreadsheets: `data-value` has all digits of a cell, `data-more` further columns; `data-skip` is left out.
  function csv(table) {
    const cell = (text) => {
      // A spreadsheet would compute what begins like a formula, and names are anybody's.
      const safe = /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
      return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
    };
    const texts = (each) => {
      const { value, more } = each.dataset;
      const first = value ?? each.textContent.replace(/\s+/g, " ").trim();
      const others = more === undefined ? [] : more.split("|");
      return [first === "–" ? "" : first, ...others, ...Array(each.colSpan - 1).fill("")];
    };
    const rows = [...table.rows].map((row) => [...row.cells].filter((each) => !("skip" in each.dataset)).flatMap(texts));
    return rows.map((row) => `${row.map(cell).join(",")}\r\n`).join("");
  }

  document.addEventListener("DOMContentLoaded", () => {
    new ResizeObserver(() => charts.forEach(({ chart }) => chart.resize())).observe(document.body);
    document.addEventListener("studio:theme", () => charts.forEach(({ chart, option }) => chart.setOption(option(), true)));
  });
  return { colour, draw, look, precise, read, redraw };
})();
