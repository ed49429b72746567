// History of a model: draws each series of measured medians, level by level, with its changes, in the colours of the theme.
(() => {
  "use strict";
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

  function option(points) {
    const mono = getComputedStyle(document.querySelector(".num")).fontFamily;
    const text = { color: colour("base-content", 0.75), fontFamily: mono, fontSize: 11 };
    const axis = {
      axisLine: { lineStyle: { color: colour("base-content", 0.3) } },
      axisTick: { show: false },
      axisLabel: { ...text, hideOverlap: true },
      nameTextStyle: text,
      splitLine: { lineStyle: { color: colour("base-content", 0.09) } },
    };
    const high = Math.max(...points.map((each) => (each.ci95 ? each.ci95[1] : each.p50)));
    // Runs stand side by side in their order: days between two of them say nothing of the model.
    const changes = points.flatMap((each, at) => (each.mark === "change" || each.mark === "unconfirmed" ? [{ xAxis: at, name: each.mark === "change" ? "change" : "?" }] : []));
    return {
      animation: false,
      aria: { enabled: false },
      grid: { left: 16, right: 24, top: 40, bottom: 16, containLabel: true },
      // Drawn on the canvas: a tooltip made of HTML would carry style attributes, which the page's policy forbids.
      tooltip: {
        trigger: "axis",
        renderMode: "richText",
        confine: true,
        backgroundColor: colour("base-100"),
        borderColor: colour("base-content", 0.3),
        textStyle: { ...text, color: colour("base-content") },
        formatter: ([{ dataIndex }]) => {
          const each = points[dataIndex];
          return `${each.at.slice(0, 16).replace("T", " ")}\n${each.model}\n${precise(each.p50, 4)} ms${each.mark ? `, ${each.mark}` : ""}`;
        },
      },
      xAxis: { ...axis, type: "category", boundaryGap: true, data: points.map((each) => each.at.slice(0, 10)), splitLine: { show: false } },
      yAxis: { ...axis, type: "value", name: "ms", min: 0, max: high * 1.1, axisLine: { show: false }, axisLabel: { ...axis.axisLabel, formatter: (value) => precise(value), showMaxLabel: false } },
      series: [
        {
          type: "custom",
          silent: true,
          encode: { x: 0, y: [1, 2] },
          data: points.map((each, at) => [at, ...(each.ci95 ?? [each.p50, each.p50])]),
          renderItem: (_, api) => {
            const [x, bottom] = api.coord([api.value(0), api.value(1)]);
            const top = api.coord([api.value(0), api.value(2)])[1];
            return { type: "line", shape: { x1: x, y1: bottom, x2: x, y2: top }, style: { stroke: colour("primary", 0.5), lineWidth: 3 } };
          },
        },
        {
          type: "line",
          lineStyle: { color: colour("primary"), width: 1 },
          data: points.map((each) => ({
            value: each.p50,
            symbol: each.mark === "outlier" ? "emptyCircle" : "circle",
            symbolSize: each.mark ? 9 : 6,
            itemStyle: { color: each.mark === "change" || each.mark === "unconfirmed" ? colour(each.slower ? "error" : "success") : colour("primary") },
          })),
          markLine: {
            silent: true,
            symbol: "none",
            animation: false,
            label: { ...text, formatter: "{b}", backgroundColor: colour("base-100", 0.85), padding: [1, 3] },
            lineStyle: { color: colour("base-content", 0.6), type: "dashed", width: 1 },
            data: changes,
          },
        },
      ],
    };
  }

  document.addEventListener("DOMContentLoaded", () => {
    const series = JSON.parse(document.getElementById("history-data")?.textContent ?? "[]");
    document.querySelectorAll("[data-history]").forEach((place) => {
      const points = series[Number(place.dataset.history)].points;
      const chart = echarts.init(place, null, { renderer: "canvas" });
      charts.push([chart, () => option(points)]);
      chart.setOption(option(points));
    });
    new ResizeObserver(() => charts.forEach(([each]) => each.resize())).observe(document.body);
    document.addEventListener("studio:theme", () => charts.forEach(([each, fresh]) => each.setOption(fresh(), true)));
  });
})();
