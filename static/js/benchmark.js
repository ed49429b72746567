// Benchmark page: draws the histogram and the course over time from the numbers in the page, in the colours of the theme.
(() => {
  "use strict";
  const { colour, draw, look, precise, read } = globalThis.studioCharts;

  function marks(latency, until, line, text, axis) {
    return {
      silent: true,
      symbol: "none",
      animation: false,
      label: { ...text, formatter: "{b}", backgroundColor: colour("base-100", 0.85), padding: [1, 3] },
      lineStyle: { color: line, type: "dashed", width: 1 },
      // Names stand above one another, so that lines close together keep theirs legible.
      data: ["p50", "p95", "p99"]
        .filter((name) => latency[name] <= until)
        .map((name, at) => ({ name, [axis]: latency[name], label: { distance: axis === "xAxis" ? 4 + 12 * at : 4 } })),
    };
  }

  // A slider below, whose ends are drawn apart; the wheel zooms with Ctrl alone, so that the page scrolls as ever.
  function zoom() {
    const { text } = look();
    const fill = colour("primary", 0.15);
    return [
      { type: "inside", zoomOnMouseWheel: "ctrl", moveOnMouseMove: false, moveOnMouseWheel: false, filterMode: "none" },
      {
        type: "slider",
        height: 18,
        bottom: 8,
        left: 24,
        right: 24,
        filterMode: "none",
        showDetail: false,
        brushSelect: false,
        borderColor: colour("base-content", 0.3),
        backgroundColor: "transparent",
        fillerColor: fill,
        dataBackground: { lineStyle: { opacity: 0 }, areaStyle: { opacity: 0 } },
        selectedDataBackground: { lineStyle: { opacity: 0 }, areaStyle: { opacity: 0 } },
        handleStyle: { color: colour("base-100"), borderColor: colour("base-content", 0.6) },
        moveHandleStyle: { color: colour("base-content", 0.3) },
        emphasis: { handleStyle: { borderColor: colour("primary") }, moveHandleStyle: { color: colour("primary", 0.6) } },
        textStyle: text,
      },
    ];
  }

  function histogram(chart, latency) {
    const { axis, shared, text } = look();
    const edges = chart.histogram.edges_ms;
    const bars = chart.histogram.counts.map((count, at) => [edges[at], edges[at + 1], count]);
    const fill = colour("primary", 0.75);
    return {
      ...shared,
      grid: { ...shared.grid, bottom: 36 },
      dataZoom: zoom(),
      tooltip: {
        ...shared.tooltip,
        trigger: "item",
        formatter: ({ value }) => `${precise(value[0], 4)} – ${precise(value[1], 4)} ms\n${value[2].toLocaleString("en")} samples`,
      },
      xAxis: { ...axis, type: "value", min: edges[0], max: edges[edges.length - 1], name: "ms", nameGap: 8, splitLine: { show: false }, axisLabel: { ...axis.axisLabel, formatter: (value) => precise(value), showMinLabel: false, showMaxLabel: false } },
      yAxis: { ...axis, type: "value", axisLine: { show: false } },
      series: [
        {
          type: "custom",
          clip: true,
          encode: { x: [0, 1], y: 2 },
          data: bars,
          renderItem: (_, api) => {
            const [left, top] = api.coord([api.value(0), api.value(2)]);
            const [right, bottom] = api.coord([api.value(1), 0]);
            return {
              type: "rect",
              shape: { x: left + 0.5, y: top, width: Math.max(1, right - left - 1), height: bottom - top },
              style: { fill },
            };
          },
          markLine: marks(latency, edges[edges.length - 1], colour("base-content", 0.7), text, "xAxis"),
        },
      ],
    };
  }

  function series(chart, latency) {
    const { axis, shared, text } = look();
    const stride = chart.series_stride;
    const [low, high] = [Math.min(...chart.series_ms) * 0.9, Math.max(...chart.series_ms) * 1.05];
    return {
      ...shared,
      grid: { ...shared.grid, bottom: 36 },
      dataZoom: zoom(),
      tooltip: { ...shared.tooltip, formatter: ([point]) => `sample ${point.value[0].toLocaleString("en")}\n${precise(point.value[1], 4)} ms` },
      xAxis: { ...axis, type: "value", min: 0, max: chart.series_ms.length * stride, splitLine: { show: false }, axisLabel: { ...axis.axisLabel, showMaxLabel: false } },
      yAxis: { ...axis, type: "value", name: "ms", min: low, max: high, axisLine: { show: false }, axisLabel: { ...axis.axisLabel, formatter: (value) => precise(value), showMinLabel: false, showMaxLabel: false } },
      series: [
        {
          type: "line",
          showSymbol: false,
          lineStyle: { color: colour("primary"), width: 1 },
          itemStyle: { color: colour("primary") },
          data: chart.series_ms.map((value, at) => [(at + 0.5) * stride, value]),
          markLine: { ...marks(latency, high, colour("base-content", 0.7), text, "yAxis"), label: { ...text, formatter: "{b}", position: "end", distance: 2 } },
        },
      ],
    };
  }

  document.addEventListener("DOMContentLoaded", () => {
    const chart = read("chart-data");
    const latency = read("latency-data");
    if (!chart || !latency) return;
    draw("histogram-chart", () => histogram(chart, latency));
    draw("series-chart", () => series(chart, latency));
  });
})();
