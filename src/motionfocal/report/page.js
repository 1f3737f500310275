"use strict";
// One clock for all clips. Each clip stays paused and is put on the frame that the clock asks for, and no clip of an
// item moves on before all of them show the last frame asked for: they cannot drift apart.
(() => {
  const find = (selector, root = document) => root.querySelector(selector);
  const findAll = (selector, root = document) => [...root.querySelectorAll(selector)];
  if (!find("#clips")) return;

  const items = findAll(".item").map((element) => {
    const clips = findAll("video", element).map((video) => ({
      video, fps: Number(video.dataset.fps), frames: Number(video.dataset.frames),
    }));
    return { element, clips, length: Math.max(...clips.map((clip) => clip.frames / clip.fps)) };
  });
  const byElement = new Map(items.map((item) => [item.element, item]));
  const inView = new Set();
  const clock = { playing: false, speed: 1, time: 0, last: 0 };

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

  const frameOf = (clip, length) => {
    const time = ((clock.time % length) + length) % length;
    return Math.min(Math.floor(time * clip.fps + 1e-6), clip.frames - 1);
  };

  function show(item) {
    const clips = item.clips.filter(({ video }) => !video.error);
    if (clips.some(({ video }) => video.readyState < 2 || video.seeking)) return;
    for (const clip of clips) {
      const middle = (frameOf(clip, item.length) + 0.5) / clip.fps;
      if (Math.abs(clip.video.currentTime - middle) > 0.25 / clip.fps) clip.video.currentTime = middle;
    }
  }

  const readout = find("#frame");
  function tick(now) {
    if (clock.playing) clock.time += Math.min(now - clock.last, 250) / 1000 * clock.speed;
    clock.last = now;
    inView.forEach(show);
    const { clips: [clip], length } = items[0];
    const text = `${frameOf(clip, length) + 1} / ${clip.frames}`;
    if (readout.textContent !== text) readout.textContent = text;
    requestAnimationFrame(tick);
  }

  const play = find("#play");
  function setPlaying(playing) {
    clock.playing = playing;
    play.textContent = playing ? "Pause" : "Play";
  }

  function step(frames) {
    const { fps } = items[0].clips[0];
    setPlaying(false);
    clock.time = (Math.floor(clock.time * fps + 1e-6) + frames) / fps;
  }

  play.addEventListener("click", () => setPlaying(!clock.playing));
  find("#back").addEventListener("click", () => step(-1));
  find("#forward").addEventListener("click", () => step(1));
  for (const choice of findAll("input[name=speed]")) {
    choice.addEventListener("change", () => { clock.speed = Number(choice.value); });
  }
  const keys = { " ": () => setPlaying(!clock.playing), ",": () => step(-1), ".": () => step(1) };
  document.addEventListener("keydown", (event) => {
    const busy = event.target.closest("input:not([type=radio]), select, button, summary");
    if (busy || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });

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
  clock.speed = Number(find("input[name=speed]:checked").value);
  setPlaying(!matchMedia("(prefers-reduced-motion: reduce)").matches);
  items.forEach(({ element }) => nearby.observe(element));
  requestAnimationFrame(tick);
})();
