// Benchmark page: draws the operators as areas in proportion to their time, in the colours of the theme.
(() => {
  "use strict";
  const { colour, draw, look, precise, read } = globalThis.studioCharts;

  // Types as areas with their operators within; what only converts between integers and float is hatched.
  function operators(tree) {
    const { shared, text } = look();
    const total = tree.reduce((sum, type) => sum + type.value, 0) || 1;
    const most = Math.max(...tree.map((type) => type.value)) || 1;
    const decal = { symbol: "rect", dashArrayX: [1, 0], dashArrayY: [2, 5], rotation: -Math.PI / 4, color: colour("base-content", 0.5) };
    const data = tree.map((type) => ({
      ...type,
      itemStyle: { color: colour("primary", 0.18 + (0.5 * type.value) / most), decal: type.conversion ? decal : undefined },
      children: type.children.map((each) => ({
        ...each,
        itemStyle: { color: colour("primary", 0.18 + (0.5 * type.value) / most), decal: type.conversion ? decal : undefined },
      })),
    }));
    return {
      animation: false,
      aria: { enabled: false },
      tooltip: {
        ...shared.tooltip,
        trigger: "item",
        formatter: ({ name, value }) => `${name}\n${precise(value, 4)} ms, ${precise((100 * value) / total)} %`,
      },
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
    if (tree?.length) draw("operators-chart", () => operators(tree));
  });
})();
