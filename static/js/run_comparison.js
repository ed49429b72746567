// Page of saved runs side by side: their distributions, latency against accuracy, and a bar for each of what they differ in.
(() => {
  "use strict";
  const { colour, draw, look, precise, read } = globalThis.studioCharts;
  // A line is told by its dashes and its number, too, for whoever cannot tell the colours apart.
  const DASHES = ["solid", [8, 3], [2, 3], [10, 3, 2, 3], [5, 5], [14, 4], [2, 6], [8, 3, 2, 3, 2, 3]];
  const short = (name, most) => (name.length > most ? `${name.slice(0, most - 9)}…${name.slice(-8)}` : name);

  function distribution({ curves, points }) {
    const { axis, shared, text } = look();
    const known = points.map((point, at) => ({ point, at, curve: curves[at] })).filter(({ curve }) => curve.length);
    const times = known.flatMap(({ curve }) => curve.map(([ms]) => ms));
    const [low, high] = [Math.min(...times), Math.max(...times)];
    // On a linear scale the fastest of models far apart would be a line at the edge.
    const log = high / low > 20;
    return {
      ...shared,
      grid: { left: 44, right: 28, top: 44, bottom: 44 },
      legend: { type: "scroll", top: 4, left: 8, right: 8, itemWidth: 22, itemHeight: 8, textStyle: text, pageTextStyle: text, pageIconColor: text.color, formatter: (name) => short(name, 28) },
      tooltip: { ...shared.tooltip, trigger: "item", formatter: ({ seriesName, value }) => `${short(seriesName, 40)}\n${(value[1] * 100).toFixed(1)} % within ${precise(value[0], 4)} ms` },
      xAxis: { ...axis, type: log ? "log" : "value", min: low, max: high, name: "latency, ms", nameLocation: "middle", nameGap: 26, axisLabel: { ...axis.axisLabel, formatter: (value) => precise(value), showMinLabel: log, showMaxLabel: log } },
      yAxis: { ...axis, type: "value", min: 0, max: 1, axisLabel: { ...axis.axisLabel, formatter: (value) => `${Math.round(value * 100)} %` } },
      series: known.map(({ point, at, curve }) => ({
        name: `${point.number}: ${point.name}`,
        type: "line",
        symbol: "circle",
        symbolSize: 6,
        showSymbol: false,
        lineStyle: { color: colour(`series-${at + 1}`), type: DASHES[at], width: 1.75 },
        itemStyle: { color: colour(`series-${at + 1}`) },
        endLabel: { show: true, ...text, formatter: String(point.number), distance: 4 },
        data: curve,
        markLine: at ? undefined : { silent: true, symbol: "none", animation: false, label: { ...text, formatter: "p50", position: "insideEndTop" }, lineStyle: { color: colour("base-content", 0.5), type: "dashed", width: 1 }, data: [{ yAxis: 0.5 }] },
      })),
    };
  }

  // One bar for each run, with the one that the others are held against as a line through all; what is not known has none.
  function bars(points, value, told) {
    const { axis, shared, text } = look();
    const first = value(points[0]);
    const most = Math.max(...points.map((point) => value(point) ?? 0));
    return {
      ...shared,
      grid: { left: 12, right: 76, top: 8, bottom: 8, containLabel: true },
      tooltip: { ...shared.tooltip, trigger: "item", formatter: ({ dataIndex }) => `${points[dataIndex].number}: ${points[dataIndex].name}\n${told(value(points[dataIndex]))}` },
      xAxis: { ...axis, type: "value", min: 0, max: most || 1, axisLabel: { show: false }, splitLine: { show: false } },
      yAxis: { ...axis, type: "category", inverse: true, data: points.map(({ number, name }) => `${number}: ${short(name, window.innerWidth < 640 ? 16 : 22)}`), splitLine: { show: false }, axisLabel: { ...text, hideOverlap: false, interval: 0 } },
      series: [
        {
          type: "bar",
          barMaxWidth: 18,
          data: points.map((point, at) => ({ value: value(point) ?? 0, itemStyle: { color: at ? colour("primary", 0.8) : colour("base-content", 0.4) } })),
          label: { show: true, position: "right", ...text, formatter: ({ dataIndex }) => told(value(points[dataIndex])) },
          markLine: first === null ? undefined : { silent: true, symbol: "none", animation: false, label: { show: false }, lineStyle: { color: colour("base-content", 0.5), type: "dashed", width: 1 }, data: [{ xAxis: first }] },
        },
      ],
    };
  }

  document.addEventListener("DOMContentLoaded", () => {
    const data = read("comparison-data");
    if (!data) return;
    const { percent, points } = data;
    const unless = (words) => (value) => (value === null ? "not measured" : words(value));
    draw("distribution-chart", () => distribution(data));
    draw("scatter-chart", () => globalThis.studioScatter(data));
    draw("latency-chart", () => bars(points, (point) => point.p50_ms, unless((value) => `${precise(value)} ms`)));
    draw("size-chart", () => bars(points, (point) => point.size_bytes / 1e6, unless((value) => `${precise(value)} MB`)));
    draw("memory-chart", () => bars(points, (point) => point.memory_mb, unless((value) => `${precise(value)} MB`)));
    draw("accuracy-chart", () => bars(points, (point) => point.accuracy, unless((value) => (percent ? `${(value * 100).toFixed(1)} %` : precise(value, 4)))));
  });
})();
