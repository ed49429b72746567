// Administration, Use: draws how often each event happened on each day, in all workspaces together.
(() => {
  "use strict";
  const { colour, draw, look, read } = globalThis.studioCharts;
  const TONES = ["primary", "success", "warning", "error", "info", "secondary", "accent"];

  function use({ days, rows }) {
    const { axis, shared, text } = look();
    return {
      ...shared,
      grid: { left: 16, right: 24, top: 64, bottom: 16, containLabel: true },
      legend: { type: "scroll", top: 4, right: 8, itemWidth: 10, itemHeight: 10, textStyle: text },
      xAxis: { ...axis, type: "category", data: days.map((day) => day.slice(5)), splitLine: { show: false } },
      yAxis: { ...axis, type: "value", min: 0, minInterval: 1, name: "events", axisLine: { show: false } },
      series: rows.map((row, place) => ({
        name: row.name,
        type: "bar",
        stack: "events",
        barMaxWidth: 18,
        itemStyle: { color: colour(TONES[place % TONES.length], place < TONES.length ? 1 : 0.5) },
        data: row.days,
      })),
    };
  }

  document.addEventListener("DOMContentLoaded", () => {
    const data = read("use-data");
    if (data) draw("use-chart", () => use(data));
  });
})();
