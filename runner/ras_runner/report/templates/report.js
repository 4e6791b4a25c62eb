"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Sorting: a click sorts by that column, another one turns it round. Numbers stand in data-key.
  const key = (row, column) => {
    const cell = row.cells[column];
    return "key" in cell.dataset ? Number(cell.dataset.key) : cell.textContent.trim();
  };
  const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
  for (const button of all("#plans th button")) {
    button.addEventListener("click", () => {
      const header = button.parentElement;
      const turn = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      all("#plans th").forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", turn === 1 ? "ascending" : "descending");
      const body = document.querySelector("#plans tbody");
      body.append(...[...body.rows].sort((a, b) => turn * compare(key(a, header.cellIndex), key(b, header.cellIndex))));
    });
  }

  // Sections: a link to a plan opens it.
  const reveal = (hash) => {
    const target = document.getElementById(decodeURIComponent(hash.slice(1)));
    if (target instanceof HTMLDetailsElement) {
      target.open = true;
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", () => reveal(location.hash));
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    if (link) reveal(link.hash);
  });
  const setAll = (open) => all("details.plan").forEach((plan) => { plan.open = open; });
  document.getElementById("open-all")?.addEventListener("click", () => setAll(true));
  document.getElementById("close-all")?.addEventListener("click", () => setAll(false));

  // Plots are drawn when they come into view: ninety-nine plans open as fast as one.
  // Names from the model are text: plotly reads a little HTML in its labels.
  const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const LINES = [
    { color: "#2f7fc1", dash: "solid" }, { color: "#d9741a", dash: "dash" }, { color: "#2e9a68", dash: "dot" },
    { color: "#9a63c9", dash: "dashdot" }, { color: "#c2486b", dash: "longdash" },
  ];
  const line = (i, width = 1.8) => ({ ...LINES[i % LINES.length], width });
  const layout = (title, x, y) => ({
    title: { text: title, font: { size: 13 }, x: 0, xref: "paper", xanchor: "left" },
    margin: { l: 62, r: 12, t: 34, b: 66 }, font: { family: "system-ui, Segoe UI, Arial, sans-serif", size: 11 },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: "#8894a0", activecolor: "#2f7fc1" },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "x",
    legend: { orientation: "h", yref: "container", y: 0.01, yanchor: "bottom" }, showlegend: true,
    xaxis: { title: { text: x, standoff: 4 }, zeroline: false, automargin: true },
    yaxis: { title: { text: y, standoff: 6 }, zeroline: false, automargin: true },
  });

  const hydrograph = (sections, quantity, title) => {
    const shape = layout(`${title} hydrographs`, "", plain(`${title} (${sections[0][`${quantity}Unit`]})`));
    shape.xaxis.type = "date";
    const traces = sections.map((section, i) => {
      const start = Date.parse(`${section.start}Z`);
      return {
        type: "scatter", mode: "lines", name: plain(section.name), line: line(i), hoverlabel: { namelength: -1 },
        x: section.seconds.map((s) => start + 1000 * s), y: section[quantity],
      };
    });
    return { traces, shape, kind: "half" };
  };
  const profile = (reach) => {
    const title = [reach.title, reach.name, reach.some].filter(Boolean).map(plain).join(" – ");
    const shared = { type: "scatter", mode: "lines", x: reach.distance, text: reach.stations.map(plain) };
    const bed = { ...shared, name: "bed", y: reach.bed, line: { color: "#8b7355", width: 1.6 },
      hovertemplate: "%{y} (station %{text})" };
    const water = reach.surfaces.map((surface, i) => ({
      ...shared, name: plain(surface.name), y: surface.stage, line: line(i), hovertemplate: "%{y}",
    }));
    if (reach.bed.length && water.length === 1) Object.assign(water[0], { fill: "tonexty", fillcolor: "rgba(47,127,193,0.16)" });
    return { traces: reach.bed.length ? [bed, ...water] : water, kind: "full",
      shape: layout(title, plain(reach.axis), plain(`Elevation (${reach.unit})`)) };
  };
  const figures = (data) => [
    ...(data.sections.length ? [hydrograph(data.sections, "stage", "Stage"), hydrograph(data.sections, "flow", "Flow")] : []),
    ...(data.profile ? [profile(data.profile)] : []),
  ];

  const draw = (holder) => {
    if (holder.dataset.drawn) return;
    holder.dataset.drawn = "yes";
    const data = JSON.parse(document.getElementById(holder.dataset.from).textContent);
    for (const { traces, shape, kind } of figures(data)) {
      const plot = document.createElement("div");
      plot.className = `plot ${kind}`;
      holder.append(plot);
      const done = Plotly.newPlot(plot, traces, shape, {
        responsive: true, displaylogo: false, displayModeBar: plot.clientWidth < 500 ? false : "hover",
        // Named buttons only: plotly's own set has one that uploads the chart to a server.
        plotlyServerURL: "",
        modeBarButtons: [["toImage"], ["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
      });
      // With a viewBox the drawing shrinks with the paper when the page is printed.
      const scale = () => all("svg.main-svg", plot).forEach((svg) =>
        svg.setAttribute("viewBox", `0 0 ${parseFloat(svg.getAttribute("width"))} ${parseFloat(svg.getAttribute("height"))}`));
      done.then(() => { scale(); plot.on("plotly_afterplot", scale); });
    }
  };
  addEventListener("DOMContentLoaded", () => {
    const watcher = new IntersectionObserver((seen) => {
      for (const entry of seen) {
        if (entry.isIntersecting) {
          watcher.unobserve(entry.target);
          draw(entry.target);
        }
      }
    }, { rootMargin: "300px" });
    all(".plots").forEach((holder) => watcher.observe(holder));
    if (location.hash) reveal(location.hash);
  });

  // On paper all plots are as wide as the page, with letters of one size.
  const PAPER_WIDTH = 720;
  addEventListener("beforeprint", () => {
    all("details[open] .plots").forEach(draw);
    all(".plot").forEach((plot) => Plotly.relayout(plot, { width: PAPER_WIDTH }));
  });
  addEventListener("afterprint", () => all(".plot").forEach((plot) => Plotly.relayout(plot, { width: null, autosize: true })));
})();
