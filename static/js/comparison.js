// Page of a comparison: models by latency and accuracy with the Pareto front, and ratios with their intervals.
(() => {
  "use strict";
  const { colour, draw, look, precise, read, save } = globalThis.studioCharts;
  const megabytes = (bytes) => `${precise(bytes / 1e6)} MB`;
  const percent = (value) => `${(value * 100).toFixed(2)} %`;
  // Variants differ at the end of their names.
  const short = (name, most) => (name.length > most ? `${name.slice(0, most - 9)}…${name.slice(-8)}` : name);

  function scatter({ metric, points }) {
    const { axis, shared, text } = look();
    const known = metric ? points.filter((point) => point.accuracy !== null) : points;
    const y = (point) => (metric ? point.accuracy * 100 : point.size_bytes / 1e6);
    const largest = Math.max(...known.map((point) => point.size_bytes));
    const size = (point) => (metric ? 8 + 26 * Math.sqrt(point.size_bytes / largest) : 12);
    const front = known.filter((point) => point.front).sort((a, b) => a.p50_ms - b.p50_ms);
    // Room for the largest circles and their names at the edges.
    const span = (values) => {
      const [low, high] = [Math.min(...values), Math.max(...values)];
      const room = (high - low || Math.abs(high) * 0.04 || 1) * 0.25;
      return [low - room, high + room];
    };
    const [left, right] = span(known.map((point) => point.p50_ms));
    const [bottom, top] = span(known.map(y));
    return {
      ...shared,
      grid: { ...shared.grid, top: 36, bottom: 28 },
      tooltip: {
        ...shared.tooltip,
        trigger: "item",
        formatter: ({ data }) => {
          const { point } = data;
          const accuracy = point?.accuracy === null || !metric ? "" : `\n${percent(point.accuracy)} ${metric}`;
          return point ? `${point.number}: ${point.name}\np50 ${precise(point.p50_ms)} ms${accuracy}\n${megabytes(point.size_bytes)}` : "";
        },
      },
      xAxis: { ...axis, type: "value", min: Math.max(0, left), max: right, name: "p50, ms", nameLocation: "middle", nameGap: 26, axisLabel: { ...axis.axisLabel, formatter: (value) => precise(value), showMinLabel: false, showMaxLabel: false } },
      yAxis: { ...axis, type: "value", min: metric ? bottom : Math.max(0, bottom), max: top, name: metric ? `${metric}, %` : "size, MB", nameTextStyle: { ...axis.nameTextStyle, align: "left" }, axisLabel: { ...axis.axisLabel, formatter: (value) => (metric && value > 100 ? "" : precise(value, 4)), showMinLabel: false, showMaxLabel: false } },
      series: [
        { type: "line", silent: true, symbol: "none", lineStyle: { color: colour("base-content", 0.45), type: "dashed", width: 1 }, data: front.map((point) => [point.p50_ms, y(point)]) },
        {
          type: "scatter",
          data: known.map((point) => ({
            value: [point.p50_ms, y(point)],
            point,
            symbolSize: size(point),
            itemStyle: { color: colour(point.front ? "primary" : "base-content", point.front ? 0.75 : 0.35) },
            label: { show: true, position: "top", ...text, formatter: String(point.number) },
          })),
          labelLayout: { hideOverlap: true },
        },
      ],
    };
  }

  function forest({ margin, ratios }) {
    const { axis, shared, text } = look();
    const all = ratios.flatMap(({ ci95, starts }) => [...ci95, ...starts]).concat(1 - 1.5 * margin, 1 + 1.5 * margin);
    const sorted = all.toSorted((a, b) => a - b);
    const room = (sorted.at(-1) - sorted[0]) * 0.06;
    const hue = { faster: "success", slower: "error", same: "primary", inconclusive: "base-content" };
    return {
      ...shared,
      grid: { ...shared.grid, top: 16, right: 24, bottom: 28 },
      tooltip: {
        ...shared.tooltip,
        trigger: "item",
        formatter: ({ data }) => (data.told ? `${data.told.name}\n${precise(data.told.ratio, 4)}×, ${precise(data.told.ci95[0], 4)} – ${precise(data.told.ci95[1], 4)}` : ""),
      },
      xAxis: { ...axis, type: "value", min: sorted[0] - room, max: sorted.at(-1) + room, name: "× its time", nameLocation: "middle", nameGap: 26, axisLabel: { ...axis.axisLabel, formatter: (value) => precise(value), showMinLabel: false, showMaxLabel: false } },
      yAxis: { ...axis, type: "category", inverse: true, data: ratios.map(({ name }) => short(name, window.innerWidth < 640 ? 17 : 26)), splitLine: { show: false } },
      series: [
        {
          type: "custom",
          encode: { x: [1, 2], y: 0 },
          data: ratios.map((told, at) => ({ value: [at, told.ci95[0], told.ci95[1], told.ratio], told })),
          renderItem: (params, api) => {
            const [from, y] = api.coord([api.value(1), api.value(0)]);
            const [to] = api.coord([api.value(2), api.value(0)]);
            const [at] = api.coord([api.value(3), api.value(0)]);
            const stroke = colour(hue[ratios[params.dataIndex].verdict]);
            return {
              type: "group",
              children: [
                { type: "rect", shape: { x: from, y: y - 3, width: Math.max(2, to - from), height: 6, r: 3 }, style: { fill: stroke, opacity: 0.55 } },
                { type: "rect", shape: { x: at - 1.5, y: y - 9, width: 3, height: 18 }, style: { fill: stroke } },
              ],
            };
          },
          markArea: { silent: true, itemStyle: { color: colour("base-content", 0.07) }, data: [[{ xAxis: 1 - margin }, { xAxis: 1 + margin }]] },
          markLine: { silent: true, symbol: "none", animation: false, label: { show: false }, lineStyle: { color: colour("base-content", 0.5), type: "dashed", width: 1 }, data: [{ xAxis: 1 }] },
        },
        {
          type: "scatter",
          silent: true,
          symbolSize: 5,
          itemStyle: { color: colour("base-content", 0.4) },
          data: ratios.flatMap(({ starts }, at) => starts.map((ratio) => ({ value: [ratio, at], symbolOffset: [0, 14] }))),
        },
      ],
    };
  }

  document.addEventListener("DOMContentLoaded", () => {
    const data = read("comparison-data");
    if (!data) return;
    const charts = { "scatter-chart": draw("scatter-chart", () => scatter(data)), "forest-chart": draw("forest-chart", () => forest(data)) };
    for (const button of document.querySelectorAll("[data-png]")) {
      const chart = charts[button.dataset.png];
      if (!chart) continue;
      button.hidden = false;
      button.addEventListener("click", () => save(chart, `${button.dataset.png}.png`));
    }
  });
})();
