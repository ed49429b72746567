// Pages of comparisons: models by latency and accuracy, or size where none is known, with the Pareto front.
globalThis.studioScatter = (() => {
  "use strict";
  const { colour, look, precise } = globalThis.studioCharts;
  const megabytes = (bytes) => `${precise(bytes / 1e6)} MB`;

  // Room for the largest circles and their names at the edges.
  function span(values) {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const room = (high - low || Math.abs(high) * 0.04 || 1) * 0.25;
    return [low - room, high + room];
  }

  function tell({ metric, percent }, point) {
    if (!point) return "";
    const value = point.accuracy === null ? "not measured" : percent ? `${(point.accuracy * 100).toFixed(2)} %` : precise(point.accuracy, 4);
    const accuracy = metric ? `\n${metric}: ${value}` : "";
    return `${point.number}: ${point.name}\np50 ${precise(point.p50_ms)} ms${accuracy}\n${megabytes(point.size_bytes)}`;
  }

  // What was not measured has a lane of its own below: it is neither zero nor anywhere between the others.
  return (data) => {
    const { metric, percent, points } = data;
    const { axis, shared, text } = look();
    const known = metric ? points.filter((point) => point.accuracy !== null) : points;
    const unknown = points.filter((point) => !known.includes(point));
    const y = (point) => (metric ? point.accuracy * (percent ? 100 : 1) : point.size_bytes / 1e6);
    const largest = Math.max(...points.map((point) => point.size_bytes));
    const front = known.filter((point) => point.front).sort((a, b) => a.p50_ms - b.p50_ms);
    const times = points.map((point) => point.p50_ms);
    // On a linear scale the fastest of models far apart would lie on one another.
    const far = Math.max(...times) / Math.min(...times) > 20;
    const [left, right] = far ? [Math.min(...times) / 2, Math.max(...times) * 2] : span(times);
    const [bottom, top] = span(known.map(y));
    const grid = { left: 52, right: 24 };
    const horizontal = { ...axis, type: far ? "log" : "value", min: Math.max(0, left), max: right, axisLabel: { ...axis.axisLabel, formatter: (value) => precise(value), showMinLabel: false, showMaxLabel: false } };
    const named = { ...horizontal, name: "p50, ms", nameLocation: "middle", nameGap: 26 };
    const name = { ...axis.nameTextStyle, align: "left" };
    const marks = (shown, lane) =>
      shown.map((point) => ({
        value: [point.p50_ms, lane ?? y(point)],
        point,
        symbolSize: metric ? 8 + 26 * Math.sqrt(point.size_bytes / largest) * (lane === undefined ? 1 : 0.6) : 12,
        itemStyle: { color: colour(point.front ? "primary" : "base-content", point.front ? 0.75 : 0.35) },
        label: { show: true, position: lane === undefined ? "top" : "right", ...text, formatter: String(point.number) },
      }));
    const lane = unknown.length > 0;
    return {
      ...shared,
      grid: [
        { ...grid, top: 36, bottom: lane ? 104 : 44 },
        ...(lane ? [{ ...grid, height: 34, bottom: 44 }] : []),
      ],
      tooltip: { ...shared.tooltip, trigger: "item", formatter: (mark) => tell(data, mark.data.point) },
      xAxis: [lane ? { ...horizontal, axisLabel: { show: false } } : named, ...(lane ? [{ ...named, gridIndex: 1, splitLine: { show: false } }] : [])],
      yAxis: [
        { ...axis, type: "value", min: metric ? bottom : Math.max(0, bottom), max: top, name: metric ? `${metric}${percent ? ", %" : ""}` : "size, MB", nameTextStyle: name, axisLabel: { ...axis.axisLabel, formatter: (value) => (metric && percent && value > 100 ? "" : precise(value, 4)), showMinLabel: false, showMaxLabel: false } },
        ...(lane ? [{ ...axis, type: "value", gridIndex: 1, min: -1, max: 1, name: "not measured", nameGap: 4, nameTextStyle: name, axisLabel: { show: false }, splitLine: { show: false } }] : []),
      ],
      series: [
        { type: "line", silent: true, symbol: "none", lineStyle: { color: colour("base-content", 0.45), type: "dashed", width: 1 }, data: front.map((point) => [point.p50_ms, y(point)]) },
        { type: "scatter", data: marks(known), labelLayout: { hideOverlap: true } },
        ...(lane ? [{ type: "scatter", xAxisIndex: 1, yAxisIndex: 1, data: marks(unknown, 0) }] : []),
      ],
    };
  };
})();
