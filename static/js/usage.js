// Usage: draws job minutes and stored bytes by day and by month.
(() => {
  "use strict";
  const { colour, draw, look, precise, read } = globalThis.studioCharts;

  function base(rows, letters) {
    const { axis, shared, text } = look();
    return {
      ...shared,
      grid: { left: 16, right: 24, top: 40, bottom: 16, containLabel: true },
      xAxis: { ...axis, type: "category", data: rows.map((each) => each.day.slice(...letters)), splitLine: { show: false } },
      yAxis: { ...axis, type: "value", min: 0, axisLine: { show: false }, nameTextStyle: { ...text, align: "left" } },
    };
  }

  function minutes(rows, letters) {
    const option = base(rows, letters);
    option.tooltip = { ...option.tooltip, valueFormatter: (value) => `${precise(value)} min` };
    option.yAxis.name = "job minutes";
    option.series = [
      { name: "Job minutes", type: "bar", barMaxWidth: 18, itemStyle: { color: colour("primary") }, data: rows.map((each) => each.job_minutes) },
    ];
    return option;
  }

  function stored(rows, letters) {
    const option = base(rows, letters);
    option.tooltip = { ...option.tooltip, valueFormatter: (value) => (value == null ? "not known" : `${precise(value)} MB`) };
    option.yAxis.name = "stored, MB";
    option.series = [
      {
        name: "Stored",
        type: "line",
        symbolSize: 6,
        // A day between days without a value has no line: its mark is all there is of it.
        showAllSymbol: true,
        lineStyle: { color: colour("success"), width: 1.5 },
        itemStyle: { color: colour("success") },
        data: rows.map((each) => (each.stored_bytes == null ? null : each.stored_bytes / 1e6)),
      },
    ];
    return option;
  }

  document.addEventListener("DOMContentLoaded", () => {
    const history = read("usage-data");
    if (!history) return;
    // Of a day its month and day are shown, of a month its year and month.
    for (const [name, letters] of [["days", [5]], ["months", [0, 7]]]) {
      draw(`${name}-minutes-chart`, () => minutes(history[name], letters));
      draw(`${name}-stored-chart`, () => stored(history[name], letters));
    }
  });
})();
