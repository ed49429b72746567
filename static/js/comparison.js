// Page of a comparison: models by latency and accuracy, and ratios with their intervals.
(() => {
  "use strict";
  const { colour, draw, look, precise, read } = globalThis.studioCharts;
  // Variants differ at the end of their names.
  const short = (name, most) => (name.length > most ? `${name.slice(0, most - 9)}…${name.slice(-8)}` : name);

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
    draw("scatter-chart", () => globalThis.studioScatter(data));
    draw("forest-chart", () => forest(data));
  });
})();
