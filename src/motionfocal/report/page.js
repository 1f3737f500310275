// The page of a comparison: clips that are decoded near the screen only, filters, one clock (clock.js).
(() => {
  const find = (selector, root = document) => root.querySelector(selector);
  const findAll = (selector, root = document) => [...root.querySelectorAll(selector)];
  if (!find("#clips")) return;

  const items = findAll(".item").map((element) => {
    const clips = findAll("video", element).map((video) => ({
      video, fps: Number(video.dataset.fps), frames: Number(video.dataset.frames),
    }));
    return { element, clips };
  });
  const byElement = new Map(items.map((item) => [item.element, item]));
  const inView = new Set();

  // Clips are decoded only near the screen: browsers allow a few dozen players at once.
  function attach(item) {
    for (const { video } of item.clips) {
      const bytes = Uint8Array.from(atob(video.dataset.video), (letter) => letter.charCodeAt(0));
      video.src = URL.createObjectURL(new Blob([bytes], { type: "video/mp4" }));
    }
  }

  function detach(item) {
    for (const { video } of item.clips) {
      URL.revokeObjectURL(video.src);
      video.removeAttribute("src");
      video.load();
    }
  }

  const nearby = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const item = byElement.get(target);
      if (isIntersecting && !inView.has(item)) { inView.add(item); attach(item); }
      if (!isIntersecting && inView.delete(item)) detach(item);
    }
  }, { rootMargin: "500px 0px" });

  const all = items.flatMap(({ clips }) => clips);
  const fps = Math.max(...all.map((clip) => clip.fps));
  const length = Math.max(...all.map((clip) => clip.frames / clip.fps));
  const readout = find("#frame");
  const clock = createClock({
    clips: () => [...inView].flatMap(({ clips }) => clips),
    length: () => length,
    fps: () => fps,
    show: ({ time }) => {
      const text = `${Math.floor(time * fps + 1e-6) + 1} / ${Math.round(length * fps)}`;
      if (readout.textContent !== text) readout.textContent = text;
    },
  });
  operate(clock);
  clock.play(!matchMedia("(prefers-reduced-motion: reduce)").matches);

  const form = find(".filters");
  function filter() {
    const { search, ...exact } = Object.fromEntries(new FormData(form));
    const words = search.toLowerCase().split(/\s+/);
    let count = 0;
    for (const { element } of items) {
      const fits = Object.entries(exact).every(([key, value]) => !value || element.dataset[key] === value)
        && words.every((word) => element.dataset.search.includes(word));
      element.hidden = !fits;
      count += fits;
    }
    form.elements.count.textContent = `${count} of ${items.length}`;
    find("#none").hidden = count > 0;
  }
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  function search(words) {
    form.reset();
    form.elements.search.value = words;
    filter();
  }
  find("#clear").addEventListener("click", () => search(""));
  for (const button of findAll(".siblings")) {
    button.addEventListener("click", () => { search(button.dataset.image); form.scrollIntoView(); });
  }

  filter(); // a browser that reloads the page remembers what was chosen
  items.forEach(({ element }) => nearby.observe(element));
})();
