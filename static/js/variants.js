// Variants of a model: draws size, latency and accuracy of each variant beside what it is held against, in the theme's colours.
(() => {
  "use strict";
  const { colour, draw, look, precise, read } = globalThis.studioCharts;
  const SHOWN = 12;

  function option(rows, unit, label) {
    const { axis, shared, text } = look();
    const bar = (field, name, fill) => ({
      type: "bar",
      name,
      barMaxWidth: 12,
      itemStyle: { color: fill },
      label: { ...text, show: true, position: "right", formatter: ({ value }) => precise(value) },
      data: rows.map((each) => each[field]),
    });
    return {
      ...shared,
      grid: { left: 12, right: 56, top: 32, bottom: 26, containLabel: true },
      legend: { top: 4, left: 8, itemWidth: 12, itemHeight: 8, textStyle: text, icon: "rect" },
      tooltip: {
        ...shared.tooltip,
        axisPointer: { type: "shadow" },
        formatter: ([{ dataIndex }]) => {
          const each = rows[dataIndex];
          return `${each.name}\n${precise(each.after, 4)} ${unit}\n${each.against}\n${precise(each.before, 4)} ${unit}`;
        },
      },
      xAxis: { ...axis, type: "value", name: unit, nameLocation: "middle", nameGap: 24, axisLabel: { ...axis.axisLabel, formatter: (value) => precise(value) } },
      // The first variant of the table stands at the top.
      yAxis: { ...axis, type: "category", inverse: true, data: rows.map((each) => each.label), splitLine: { show: false }, axisLabel: { ...axis.axisLabel, width: 130, overflow: "truncate", hideOverlap: false } },
      series: [bar("before", label, colour("base-content", 0.3)), bar("after", "the variant", colour("primary", 0.85))],
    };
  }

  document.addEventListener("DOMContentLoaded", () => {
    const family = read("family-data") ?? {};
    const charts = { size: ["MB", "the original"], latency: ["ms", "what it was made from"], accuracy: ["%", "the original"] };
    for (const [name, [unit, label]] of Object.entries(charts)) {
      const rows = (family[name] ?? []).slice(0, SHOWN);
      if (rows.length) draw(`family-${name}-chart`, () => option(rows, unit, label));
    }
  });
})();
