// Benchmark page: draws the operators by their time, as bars in order or as areas, in the colours of the theme.
(() => {
  "use strict";
  const { colour, draw, look, precise, read, redraw } = globalThis.studioCharts;
  const MOST_BARS = 20;
  const short = (name, most) => (name.length > most ? `${name.slice(0, most - 9)}…${name.slice(-8)}` : name);
  // What only converts between integers and float is hatched.
  const hatched = () => ({ symbol: "rect", dashArrayX: [1, 0], dashArrayY: [2, 5], rotation: -Math.PI / 4, color: colour("base-content", 0.5) });
  const tell = (total) => ({ name, value, data }) => `${data.told ?? name}\n${precise(value, 4)} ms, ${precise((100 * value) / total)} %`;

  // The operators that take longest, and all others together.
  function bars(tree, total) {
    const { axis, shared, text } = look();
    const every = tree
      .flatMap((type) => type.children.map((each) => ({ name: each.name, value: each.value, conversion: type.conversion })))
      .sort((a, b) => b.value - a.value);
    const rest = every.slice(MOST_BARS);
    const shown = every.slice(0, MOST_BARS);
    if (rest.length) shown.push({ name: `${rest.length} others`, value: rest.reduce((sum, each) => sum + each.value, 0), rest: true });
    return {
      ...shared,
      grid: { left: 12, right: 72, top: 8, bottom: 8, containLabel: true },
      tooltip: { ...shared.tooltip, trigger: "item", formatter: tell(total) },
      xAxis: { ...axis, type: "value", min: 0, axisLabel: { show: false }, splitLine: { show: false } },
      yAxis: { ...axis, type: "category", inverse: true, data: shown.map(({ name }) => short(name, window.innerWidth < 640 ? 18 : 40)), splitLine: { show: false }, axisLabel: { ...text, hideOverlap: false, interval: 0 } },
      series: [
        {
          type: "bar",
          barMaxWidth: 18,
          data: shown.map(({ name, value, conversion, rest: others }) => ({ value, told: name, itemStyle: { color: others ? colour("base-content", 0.35) : colour("primary", 0.8), decal: conversion ? hatched() : undefined } })),
          label: { show: true, position: "right", ...text, formatter: ({ value }) => `${precise((100 * value) / total)} %` },
        },
      ],
    };
  }

  // Types as areas with their operators within.
  function areas(tree, total) {
    const { shared, text } = look();
    const most = Math.max(...tree.map((type) => type.value)) || 1;
    const style = (type) => ({ color: colour("primary", 0.18 + (0.5 * type.value) / most), decal: type.conversion ? hatched() : undefined });
    const data = tree.map((type) => ({ ...type, itemStyle: style(type), children: type.children.map((each) => ({ ...each, itemStyle: style(type) })) }));
    return {
      animation: false,
      aria: { enabled: false },
      tooltip: { ...shared.tooltip, trigger: "item", formatter: tell(total) },
      series: [
        {
          type: "treemap",
          left: 8,
          right: 8,
          top: 8,
          bottom: 8,
          roam: false,
          nodeClick: false,
          breadcrumb: { show: false },
          data,
          label: { ...text, color: colour("base-content"), overflow: "truncate" },
          upperLabel: { ...text, show: true, height: 18, color: colour("base-content") },
          itemStyle: { borderColor: colour("base-100"), borderWidth: 1, gapWidth: 1 },
          levels: [{ upperLabel: { show: false } }, { itemStyle: { borderColor: colour("base-200"), borderWidth: 2, gapWidth: 2 } }],
        },
      ],
    };
  }

  document.addEventListener("DOMContentLoaded", () => {
    const tree = read("operators-data");
    if (!tree?.length) return;
    const total = tree.reduce((sum, type) => sum + type.value, 0) || 1;
    const views = { bars: () => bars(tree, total), areas: () => areas(tree, total) };
    const drawn = draw("operators-chart", views.bars);
    const choice = document.querySelector("[data-operator-views]");
    if (!drawn || !choice) return;
    choice.addEventListener("change", ({ target }) => redraw(drawn, views[target.value]));
  });
})();
