// Tables and plots of what was measured. Every figure arrives finished: this only draws.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
}

function makeSvg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// Three significant digits, with a true minus.
function shown(value, signed = false) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "string") return value; // of a metric that names classes
  const text = Number.isInteger(value) ? String(value) : Math.abs(value) >= 1000 ? value.toFixed(0) : value.toPrecision(3);
  return (signed && value > 0 ? "+" : "") + text.replace(/-/g, "−");
}

const ARROWS = { higher: ["↑", "higher is better"], lower: ["↓", "lower is better"] };

function metricName(name, { better, description }) {
  const [arrow, meaning] = ARROWS[better] ?? ["", "describes, does not rank"];
  const label = make("span", { class: "metric", title: [description, meaning].filter(Boolean).join("; ") }, name);
  if (arrow) label.append(" ", make("span", { class: "better", role: "img", "aria-label": meaning }, arrow));
  return label;
}

const isReference = (results, model) => results.references.includes(model);

// Metrics that give numbers; the others name classes.
function numeric(results, scores) {
  const named = new Set(results.classes.map(({ metric }) => metric));
  return Object.keys(results.metrics).filter((name) => !named.has(name)
    && !Object.values(scores[name] ?? {}).some((line) => line.some((value) => typeof value === "string")));
}

function scoreTable(results, scores) {
  const metrics = numeric(results, scores).map((name) => [name, results.metrics[name]]);
  const cells = new Map(results.summary.map((row) => [JSON.stringify([row.model, row.metric]), row]));
  const cell = (model, metric) => {
    const row = cells.get(JSON.stringify([model, metric]));
    if (!row) return make("td", { class: "number" }, "–");
    const interval = row.low === null ? null : `${shown(row.low)} to ${shown(row.high)}`;
    const about = row.n === null ? undefined : `${row.n} clips`;
    return make("td", { class: "number", title: about }, make("b", {}, shown(row.estimate)),
      interval && make("span", { class: "interval" }, interval));
  };
  const line = (model) => make("tr", {}, make("th", { scope: "row" }, model), ...metrics.map(([name]) => cell(model, name)));
  const head = make("tr", {}, make("th", { scope: "col" }, "model"),
    ...metrics.map(([name, info]) => make("th", { scope: "col", class: "number" }, metricName(name, info))));
  const table = make("table", { class: "scores" }, make("thead", {}, head),
    make("tbody", {}, ...results.models.filter((model) => !isReference(results, model)).map(line)));
  if (results.references.length) {
    table.append(make("tbody", { class: "references" },
      make("tr", {}, make("th", { scope: "rowgroup", colspan: metrics.length + 1 }, "held against")),
      ...results.references.map(line)));
  }
  return make("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Metrics by model" }, table);
}

// Where values lie on an axis, in thousandths of its length.
function makeAxis(values, includeZero = false) {
  const known = values.filter((value) => value !== null && value !== undefined);
  let [low, high] = [Math.min(...known, ...(includeZero ? [0] : [])), Math.max(...known, ...(includeZero ? [0] : []))];
  if (!(high > low)) [low, high] = [low - 0.5, high + 0.5];
  const margin = 0.03 * (high - low);
  return { low, high, at: (value) => 1000 * (value - low + margin) / (high - low + 2 * margin) };
}

// One line of a plot: faint dots of single clips, and over them the estimate in its interval.
function strip(axis, values, row, zero = false) {
  const svg = makeSvg("svg", { viewBox: "0 0 1000 24", preserveAspectRatio: "none", "aria-hidden": "true" });
  if (zero) svg.append(makeSvg("path", { class: "zero", d: `M${axis.at(0).toFixed(1)} 0V24` }));
  const dots = values.map((value, k) => value === null ? "" // the height only keeps dots apart
    : `M${axis.at(value).toFixed(1)} ${(4 + (k * 0.618034) % 1 * 16).toFixed(1)}h0`).join("");
  if (dots) svg.append(makeSvg("path", { class: "dots", d: dots }));
  if (row && row.estimate !== null) {
    if (row.low !== null) svg.append(makeSvg("path", { class: "span", d: `M${axis.at(row.low).toFixed(1)} 12H${axis.at(row.high).toFixed(1)}` }));
    svg.append(makeSvg("path", { class: "at", d: `M${axis.at(row.estimate).toFixed(1)} 12h0` }));
  }
  return svg;
}

function plotLine(results, model, svg, figure) {
  return make("div", { class: isReference(results, model) ? "line reference" : "line" },
    make("span", { class: "label", title: model }, model), svg, make("span", { class: "number" }, figure));
}

function plot(name, results, scores) {
  const info = results.metrics[name];
  const rows = new Map(results.summary.filter((row) => row.metric === name).map((row) => [row.model, row]));
  const lines = results.models.filter((model) => rows.has(model) || scores[name]?.[model]);
  const values = lines.flatMap((model) => {
    const row = rows.get(model);
    return [...(scores[name]?.[model] ?? []), row?.estimate, row?.low, row?.high];
  });
  const caption = make("figcaption", {}, make("b", {}, metricName(name, info)), info.description ? ` ${info.description}` : "");
  if (values.every((value) => value === null || value === undefined)) {
    return make("figure", { class: "plot" }, caption, make("p", { class: "lead" }, "No clip has a value."));
  }
  const axis = makeAxis(values);
  return make("figure", { class: "plot" },
    caption,
    ...lines.map((model) => plotLine(results, model, strip(axis, scores[name]?.[model] ?? [], rows.get(model)),
      shown(rows.get(model)?.estimate))),
    make("div", { class: "line axis", "aria-hidden": "true" }, make("span", {}),
      make("span", { class: "ends" }, make("span", {}, shown(axis.low)), make("span", {}, shown(axis.high))), make("span", {})));
}

function classTable(results) {
  if (!results.classes.length) return null;
  const told = (shares) => Object.entries(shares).sort(([, a], [, b]) => b - a).map(([name, share]) => `${name} ${Math.round(100 * share)} %`).join(", ");
  const line = ({ model, metric, shares }) => make("tr", isReference(results, model) ? { class: "reference" } : {},
    make("th", { scope: "row" }, model), make("td", {}, metric), make("td", {}, told(shares)));
  return make("details", {}, make("summary", {}, "Metrics that name classes"),
    make("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Classes by model" }, make("table", { class: "classes" }, make("tbody", {}, ...results.classes.map(line)))));
}

function differences(results) {
  if (!results.differences.length) return null;
  const names = [...new Set(results.differences.map(({ metric }) => metric))];
  const choice = make("select", { name: "difference" }, ...names.map((name) => make("option", { value: name }, name)));
  const body = make("div", { class: "plot differences" });
  function draw() {
    const rows = results.differences.filter(({ metric }) => metric === choice.value);
    const axis = makeAxis(rows.flatMap(({ low, estimate, high }) => [low, estimate, high]), true);
    body.replaceChildren(...rows.map((row) => make("div", { class: "line" },
      make("span", { class: "label" }, `${row.a} − ${row.b}`), strip(axis, [], row, true),
      make("b", { class: "number" }, shown(row.estimate, true)),
      make("span", {}, row.low === null ? "" : `${shown(row.low, true)} to ${shown(row.high, true)}`),
      make("span", {}, row.p === null ? "" : `p ${row.p < 0.001 ? "< 0.001" : `= ${shown(row.p)}`}`))));
  }
  choice.addEventListener("change", draw);
  draw();
  return make("details", {}, make("summary", {}, "Differences between models"),
    make("p", { class: "lead" }, make("label", {}, "in ", choice),
      " Over the items of both; the line is no difference. p as the results give it, adjusted for the number of pairs (Holm)."), body);
}

function drawResults(root, results, scores) {
  const plots = make("div", { class: "plots" });
  root.append(scoreTable(results, scores), plots);
  root.append(...[classTable(results), differences(results)].filter(Boolean));
  // Thousands of dots: they wait until somebody comes near.
  const nearby = new IntersectionObserver((entries) => {
    if (!entries.some(({ isIntersecting }) => isIntersecting)) return;
    nearby.disconnect();
    plots.append(...numeric(results, scores).map((name) => plot(name, results, scores)));
  }, { rootMargin: "400px 0px" });
  nearby.observe(plots);
}
