// The clips of all models, item by item. Rows are made when they come near the screen and let go after; only rows on the
// screen hold players, and never more than browsers allow.
(() => {
  const { models, items, clips, scores, results } = window.GALLERY;
  const MOST_PLAYERS = 60; // Chromium refuses more than 75 a page
  const find = (selector) => document.querySelector(selector);
  const form = find("#filters");
  const list = find("#rows");
  const fields = form.elements;
  const names = models.map(({ name }) => name);
  const metrics = results ? Object.keys(results.metrics) : [];
  const measured = results ? results.models : [];
  const state = { models: names, order: [], heat: false };
  const siblings = new Map();
  for (const item of items) siblings.set(item.image, [...(siblings.get(item.image) ?? []), item]);
  const scoreOf = (metric, model, index) => scores[metric]?.[model]?.[index] ?? null;

  // ---- rows -------------------------------------------------------------------------------------------------------

  let usualHeight = 420;
  const rows = items.map((item, index) => {
    const element = make("article", { class: "row", tabindex: -1, "aria-label": item.text });
    return { item, index, element, full: false, players: [], height: 0 };
  });
  const byElement = new Map(rows.map((row) => [row.element, row]));
  const words = items.map((item) => [item.text, item.image, item.id, item.scenario, ...item.tags].join(" ").toLowerCase());

  function header({ item, index }) {
    const told = [item.scenario && make("span", { class: "scenario" }, item.scenario),
      ...item.tags.map((tag) => make("span", { class: "tag" }, tag)),
      make("a", { class: "id", href: link(item), title: "Link to this item" }, item.id)];
    const others = siblings.get(item.image).filter((other) => other !== item);
    const also = others.length === 0 ? null : make("p", { class: "also" }, "same picture: ",
      ...others.flatMap((other, k) => [k ? " · " : "", make("a", { href: link(other) }, other.text)]));
    const key = sortKey();
    const value = key ? make("p", { class: "key" }, `${key.label} `, make("b", {}, shown(key.of(index), key.signed))) : null;
    return make("header", {}, make("h3", {}, item.text), value, make("p", { class: "about" }, ...told.filter(Boolean)), also);
  }

  function shot(width, height, ...children) {
    const element = make("div", { class: "shot" }, ...children);
    element.style.aspectRatio = `${width} / ${height}`;
    element.classList.toggle("pixels", width < 128);
    return element;
  }

  const picture = (file, text) => make("img", { src: `media/${file}`, alt: text, decoding: "async", loading: "lazy" });

  function pictureFigure({ item, index }) {
    if (item.picture) {
      return make("figure", { class: "picture" },
        shot(item.width, item.height, picture(item.picture, `The picture ${item.image}`)), make("figcaption", {}, "picture"));
    }
    const first = names.map((name) => clips[name][index]).find((clip) => clip?.poster);
    if (!first) return make("figure", { class: "picture" }, none(1, 1, "no picture"));
    return make("figure", { class: "picture" },
      shot(first.width, first.height, picture(first.poster, "The first frame")), make("figcaption", {}, "first frame"));
  }

  function none(width, height, why) {
    const element = shot(width, height, make("p", {}, why));
    element.classList.add("none");
    return element;
  }

  function values(name, index) {
    const chosen = fields.values?.value;
    const wanted = chosen === "all" ? metrics : metrics.filter((metric) => metric === chosen);
    const lines = wanted.map((metric) => [metric, scoreOf(metric, name, index)]).filter(([, value]) => value !== null);
    if (!lines.length) return null;
    return make("dl", {}, ...lines.map(([metric, value]) =>
      make("div", {}, make("dt", { title: metric }, metric), make("dd", {}, shown(value)))));
  }

  function clipFigure(row, name) {
    const clip = clips[name][row.index];
    const role = roleOf(name);
    const caption = make("figcaption", {}, make("p", { class: "name", title: name }, make("span", { class: `model ${role}` }, name)));
    if (!clip || clip.why) {
      const like = names.map((other) => clips[other][row.index]).find((other) => other?.video);
      return make("figure", { class: `clip ${role}` }, none(like?.width ?? 1, like?.height ?? 1, clip?.why ?? "no clip"), caption);
    }
    const frame = shot(clip.width, clip.height, picture(clip.poster, ""));
    row.cells.push({ clip, frame, label: `${name}: ${row.item.text}` });
    caption.append(values(name, row.index) ?? "");
    return make("figure", { class: `clip ${role}` }, frame, caption);
  }

  function fill(row) {
    row.full = true;
    row.cells = [];
    const media = make("div", { class: "media" }, pictureFigure(row), ...state.models.map((name) => clipFigure(row, name)));
    row.element.replaceChildren(header(row), media);
    row.element.style.height = "";
  }

  function empty(row, keepHeight = true) {
    if (!row.full) return;
    row.height = keepHeight ? row.element.offsetHeight : 0;
    if (row.height) usualHeight = row.height;
    quiet(row);
    row.full = false;
    row.cells = [];
    row.element.replaceChildren();
    row.element.style.height = `${row.height || usualHeight}px`;
  }

  const nearby = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const row = byElement.get(target);
      if (isIntersecting && !row.full) fill(row);
      if (!isIntersecting) empty(row);
    }
    animate();
  }, { rootMargin: "700px 0px" });

  // ---- players ----------------------------------------------------------------------------------------------------

  const source = (clip) => `media/${state.heat && clip.heat ? clip.heat : clip.video}`;

  function enliven(row) {
    if (row.players.length) return;
    row.players = row.cells.map(({ clip, frame, label }) => {
      const video = make("video", { muted: true, playsinline: true, disablepictureinpicture: true, preload: "auto", "aria-label": label });
      video.muted = true;
      video.addEventListener("error", () => { if (video.hasAttribute("src")) frame.append(make("p", { class: "broken" }, "this browser cannot play it")); });
      video.src = source(clip);
      frame.append(video);
      return { video, clip, frames: clip.frames, fps: clip.fps, label };
    });
    row.players.forEach(showHeat);
  }

  function quiet(row) {
    for (const { video } of row.players) {
      video.removeAttribute("src");
      video.load();
      video.remove();
    }
    row.players = [];
  }

  function showHeat({ video, clip, label }) {
    video.parentElement.classList.toggle("no-heat", state.heat && !clip.heat);
    video.setAttribute("aria-label", state.heat && clip.heat ? `${label}, heatmap` : label);
  }

  let onScreen = [];
  function choosePlayers() {
    const middle = innerHeight / 2;
    const near = rows.filter((row) => row.full).map((row) => {
      const { top, bottom } = row.element.getBoundingClientRect();
      return { row, seen: bottom > 0 && top < innerHeight, close: bottom > -150 && top < innerHeight + 150, far: Math.abs((top + bottom) / 2 - middle) };
    }).filter(({ close }) => close).sort((a, b) => a.far - b.far);
    let count = 0;
    const chosen = near.filter(({ row }) => (count += row.cells.length) <= MOST_PLAYERS);
    const keep = new Set(chosen.map(({ row }) => row));
    for (const row of rows) if (row.players.length && !keep.has(row)) quiet(row);
    keep.forEach(enliven);
    onScreen = chosen.filter(({ seen }) => seen).map(({ row }) => row);
  }

  let waiting = 0;
  function animate() { // not while the page is flying past
    clearTimeout(waiting);
    waiting = setTimeout(choosePlayers, 80);
  }
  addEventListener("scroll", animate, { passive: true });
  addEventListener("resize", () => { for (const row of rows) row.height = 0; arrange(); animate(); });

  const underPlayer = () => find(".player").offsetHeight + 4;

  // One line of clips where they fit, else lines of equal length.
  const LEAST = { fit: 104, medium: 240, large: 400 };
  function arrange() {
    document.documentElement.style.scrollPaddingTop = `${underPlayer()}px`;
    const cells = state.models.length + 1;
    const fitting = Math.max(2, Math.floor((list.clientWidth + 10) / (LEAST[fields.size.value] + 10)));
    const most = list.clientWidth < 500 ? Math.min(fitting, 2) : fitting;
    list.style.setProperty("--columns", Math.ceil(cells / Math.ceil(cells / most)));
  }

  const shownClips = () => state.models.flatMap((name) => clips[name]).filter((clip) => clip?.video);
  let length = 1;
  let fps = 8;
  const readout = find("#frame");
  const clock = createClock({
    clips: () => onScreen.flatMap(({ players }) => players),
    length: () => length,
    fps: () => fps,
    show: ({ time }) => {
      const text = `${time.toFixed(2)} s`;
      if (readout.textContent !== text) readout.textContent = text;
    },
  });
  operate(clock).h = () => setHeat(!state.heat);
  clock.play(!matchMedia("(prefers-reduced-motion: reduce)").matches);

  const heat = find("#heat");
  heat.hidden = find("#heat-key").hidden = !names.some((name) => clips[name].some((clip) => clip?.heat));
  function setHeat(on) {
    if (heat.hidden) return;
    state.heat = on;
    heat.setAttribute("aria-pressed", on);
    for (const row of rows) {
      for (const player of row.players) {
        if (!player.video.src.endsWith(source(player.clip))) player.video.src = source(player.clip);
        showHeat(player);
      }
    }
  }
  heat.addEventListener("click", () => setHeat(!state.heat));

  // ---- choosing and sorting ---------------------------------------------------------------------------------------

  function sortKey() {
    const metric = fields.sort?.value;
    if (!metric) return null;
    const [a, b] = [fields.a.value, fields.b.value];
    if (!b) return { label: `${metric} of ${a}:`, of: (index) => scoreOf(metric, a, index), signed: false };
    const minus = (index) => {
      const [first, second] = [scoreOf(metric, a, index), scoreOf(metric, b, index)];
      return first === null || second === null ? null : first - second;
    };
    return { label: `${metric}, ${a} minus ${b}:`, of: minus, signed: true };
  }

  // The two models of a difference have the two colours.
  function roleOf(name) {
    if (!fields.sort?.value || !fields.b.value) return "";
    return name === fields.a.value ? "ours" : name === fields.b.value ? "theirs" : "";
  }

  function fits(row) {
    const { item, index } = row;
    return (!fields.scenario?.value || item.scenario === fields.scenario.value)
      && (!fields.tag?.value || item.tags.includes(fields.tag.value))
      && (!fields.all.checked || state.models.every((name) => clips[name][index]?.video))
      && fields.q.value.toLowerCase().split(/\s+/).every((word) => words[index].includes(word));
  }

  function sorted(chosen) {
    const key = sortKey();
    if (!key) return chosen;
    const sign = fields.dir.value === "up" ? 1 : -1;
    const unknown = (value) => value === null;
    return chosen.map((row) => [key.of(row.index), row])
      .sort(([a], [b]) => unknown(a) - unknown(b) || (unknown(a) ? 0 : sign * (a - b))).map(([, row]) => row);
  }

  function apply() {
    state.models = [...form.querySelectorAll("input[name=model]:checked")].map(({ value }) => value);
    for (const control of form.querySelectorAll(".of-sort")) control.hidden = !fields.sort?.value;
    const known = shownClips();
    length = Math.max(0.1, ...known.map((clip) => clip.frames / clip.fps));
    fps = Math.max(1, ...known.map((clip) => clip.fps));
    arrange();
    for (const row of rows) { empty(row, false); row.height = 0; row.element.style.height = `${usualHeight}px`; }
    state.order = sorted(rows.filter(fits));
    nearby.disconnect();
    list.replaceChildren(...state.order.map(({ element }) => element));
    for (const { element } of state.order) nearby.observe(element);
    fields.count.textContent = `${state.order.length} of ${items.length}`;
    find("#none").hidden = state.order.length > 0;
  }

  // ---- the address holds what was chosen --------------------------------------------------------------------------

  const link = (item) => `#${new URLSearchParams({ item: item.id })}`;

  const KEPT = ["q", "scenario", "tag", "sort", "a", "b", "dir", "values", "size"];

  function toAddress() {
    const told = new URLSearchParams();
    for (const name of KEPT) {
      const field = fields[name];
      const first = field?.options ? field.options[0].value : "";
      const idle = ["a", "b", "dir"].includes(name) && !fields.sort?.value;
      if (field && !idle && field.value !== first) told.set(name, field.value);
    }
    if (fields.all.checked) told.set("all", "1");
    if (state.models.length < names.length) for (const name of state.models) told.append("model", name);
    history.replaceState(null, "", `#${told}`);
  }

  function fromAddress() {
    const told = new URLSearchParams(location.hash.slice(1));
    form.reset();
    for (const name of KEPT.filter((key) => told.has(key))) {
      const [field, value] = [fields[name], told.get(name)];
      if (field && (!field.options || [...field.options].some((option) => option.value === value))) field.value = value;
    }
    fields.all.checked = told.has("all");
    const wanted = told.getAll("model").filter((name) => names.includes(name));
    if (wanted.length) {
      for (const box of form.querySelectorAll("input[name=model]")) box.checked = wanted.includes(box.value);
    }
    apply();
    const target = rows.find(({ item }) => item.id === told.get("item"));
    if (target) goTo(target);
  }

  function goTo(row) {
    row.element.scrollIntoView();
    row.element.focus({ preventScroll: true });
    // What lies above is being filled, and then has another height.
    for (const later of [50, 250]) setTimeout(() => { if (document.activeElement === row.element) row.element.scrollIntoView(); }, later);
  }

  function next(by) {
    const tops = state.order.map(({ element }) => element.getBoundingClientRect().top - underPlayer());
    const focused = state.order.findIndex(({ element }) => element.contains(document.activeElement));
    const near = focused >= 0 && Math.abs(tops[focused]) < innerHeight / 2;
    const beyond = by > 0 ? tops.findIndex((top) => top > 5) : tops.findLastIndex((top) => top < -5);
    const place = near ? focused + by : beyond;
    if (state.order[place]) goTo(state.order[place]);
  }

  // ---- controls ---------------------------------------------------------------------------------------------------

  const option = (value, text = value, count) => make("option", { value }, count === undefined ? text : `${text} (${count})`);
  function offer(name, options) {
    if (options.length) fields[name].append(...options);
    else fields[name].closest("label").remove();
  }
  function counted(all) {
    const counts = new Map();
    for (const value of all) if (value) counts.set(value, (counts.get(value) ?? 0) + 1);
    return [...counts].sort(([a], [b]) => a.localeCompare(b)).map(([value, count]) => option(value, value, count));
  }
  offer("scenario", counted(items.map(({ scenario }) => scenario)));
  offer("tag", counted(items.flatMap(({ tags }) => tags)));
  find("#models").append(...names.map((name) => make("label", {}, make("input", { type: "checkbox", name: "model", value: name, checked: true }), name)));
  if (metrics.length) {
    offer("sort", numeric(results, scores).map((name) => option(name)));
    offer("a", measured.map((name) => option(name)));
    offer("b", measured.map((name) => option(name)));
    offer("values", metrics.map((name) => option(name)));
  } else {
    for (const control of form.querySelectorAll(".measured")) control.remove();
  }

  function overview() {
    const line = (model) => {
      const all = clips[model.name];
      const there = all.filter((clip) => clip?.video).length;
      const lost = all.filter((clip) => clip?.why).length;
      const cells = [there, all.length - there - lost, lost, model.size, model.frames, model.fps, model.steps];
      return make("tr", {}, make("th", { scope: "row" }, model.name), ...cells.map((cell) => make("td", { class: "number" }, String(cell))));
    };
    const heads = ["clips", "not made", "unreadable", "pixels", "frames", "fps", "steps"];
    return make("table", { class: "overview" },
      make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "model"), ...heads.map((head) => make("th", { scope: "col", class: "number" }, head)))),
      make("tbody", {}, ...models.map(line)));
  }
  find("#overview").append(overview());
  if (results) drawResults(find("#drawn"), results, scores);

  form.addEventListener("input", () => { apply(); toAddress(); if (list.getBoundingClientRect().top < 0) form.scrollIntoView(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  find("#clear").addEventListener("click", () => { form.reset(); apply(); toAddress(); });
  for (const anchor of document.querySelectorAll("nav a")) { // the address is taken by the choices
    anchor.addEventListener("click", (event) => { event.preventDefault(); find(anchor.hash).scrollIntoView(); });
  }
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "j") next(1);
    else if (event.key === "k") next(-1);
    else if (event.key === "/") { event.preventDefault(); fields.q.focus(); }
  });
  addEventListener("hashchange", fromAddress);
  fromAddress();
})();
