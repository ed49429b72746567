// History of a model: draws each series of measured medians, level by level, with its changes, in the colours of the theme.
(() => {
  "use strict";
  const { colour, draw, look, precise, read } = globalThis.studioCharts;

  function option(points) {
    const { axis, shared, text } = look();
    const high = Math.max(...points.map((each) => (each.ci95 ? each.ci95[1] : each.p50)));
    // Runs stand side by side in their order: days between two of them say nothing of the model.
    const changes = points.flatMap((each, at) => (each.mark === "change" || each.mark === "unconfirmed" ? [{ xAxis: at, name: each.mark === "change" ? "change" : "?" }] : []));
    return {
      ...shared,
      grid: { left: 16, right: 24, top: 40, bottom: 16, containLabel: true },
      tooltip: {
        ...shared.tooltip,
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
    const series = read("history-data") ?? [];
    document.querySelectorAll("[data-history]").forEach((place) => {
      draw(place.id, () => option(series[Number(place.dataset.history)].points));
    });
  });
})();
