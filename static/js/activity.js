// Overview: draws the jobs of each day by how they ended, and how long one waited before it was begun.
(() => {
  "use strict";
  const { colour, draw, look, precise, read } = globalThis.studioCharts;
  const ENDS = [
    ["completed", "Completed", "success"],
    ["failed", "Failed", "error"],
    ["cancelled", "Cancelled", "warning"],
  ];

  function base(days) {
    const { axis, shared, text } = look();
    return {
      text,
      option: {
        ...shared,
        grid: { left: 16, right: 24, top: 40, bottom: 16, containLabel: true },
        xAxis: { ...axis, type: "category", data: days.map((each) => each.day.slice(5)), splitLine: { show: false } },
      },
      vertical: { ...axis, type: "value", min: 0, axisLine: { show: false }, nameTextStyle: { ...text, align: "left" } },
    };
  }

  function jobs(days) {
    const { option, text, vertical } = base(days);
    return {
      ...option,
      grid: { ...option.grid, top: 60 },
      // Above the name of the axis: on a phone there is no room beside it.
      legend: { top: 4, right: 8, itemWidth: 10, itemHeight: 10, textStyle: text, data: ENDS.map(([, name]) => name) },
      yAxis: { ...vertical, name: "jobs that ended", minInterval: 1 },
      series: ENDS.map(([key, name, tone]) => ({
        name,
        type: "bar",
        stack: "jobs",
        barMaxWidth: 18,
        itemStyle: { color: colour(tone) },
        data: days.map((each) => each[key]),
      })),
    };
  }

  function wait(days) {
    const { option, vertical } = base(days);
    return {
      ...option,
      tooltip: { ...option.tooltip, valueFormatter: (value) => (value == null ? "no job" : `${precise(value)} s`) },
      yAxis: { ...vertical, name: "mean wait, s" },
      series: [
        {
          name: "Mean wait",
          type: "line",
          symbolSize: 6,
          // A day between days without a value has no line: its mark is all there is of it.
          showAllSymbol: true,
          lineStyle: { color: colour("primary"), width: 1.5 },
          itemStyle: { color: colour("primary") },
          data: days.map((each) => each.wait_seconds),
        },
      ],
    };
  }

  document.addEventListener("DOMContentLoaded", () => {
    const days = read("activity-data");
    if (!days) return;
    draw("jobs-chart", () => jobs(days));
    draw("wait-chart", () => wait(days));
  });
})();
