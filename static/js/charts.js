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

  function draw(id, option) {
    const place = document.getElementById(id);
    if (!place) return null;
    const chart = echarts.init(place, null, { renderer: "canvas" });
    charts.push([chart, option]);
    chart.setOption(option());
    return chart;
  }

  // The picture is made of the canvas by the browser itself: no address is fetched, which the page's policy forbids.
  function save(chart, name) {
    const canvas = chart.renderToCanvas({ pixelRatio: 2, backgroundColor: colour("base-100") });
    canvas.toBlob((blob) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    }, "image/png");
  }

  document.addEventListener("DOMContentLoaded", () => {
    new ResizeObserver(() => charts.forEach(([each]) => each.resize())).observe(document.body);
    document.addEventListener("studio:theme", () => charts.forEach(([each, option]) => each.setOption(option(), true)));
  });
  return { colour, draw, look, precise, read, save };
})();
