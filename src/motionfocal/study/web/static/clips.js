"use strict";
// Clips come here whole before any of them plays; the worked examples, which are players and nothing more.

const find = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

async function download(source, told) {
  const response = await fetch(source);
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  const total = Number(response.headers.get("Content-Length"));
  const parts = [];
  let size = 0;
  for (const reader = response.body.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    size += value.length;
    if (total) told(Math.min(size / total, 1));
  }
  told(1);
  return new Blob(parts, { type: response.headers.get("Content-Type") });
}

function present(video, blob) {
  return new Promise((done, failed) => {
    video.addEventListener("loadeddata", done, { once: true });
    video.addEventListener("error", () => failed(new Error("this browser cannot play it")), { once: true });
    URL.revokeObjectURL(video.src);
    video.src = URL.createObjectURL(blob);
    video.load();
  });
}

function seePicture(picture) {
  if (picture.complete && picture.naturalWidth) return Promise.resolve();
  return new Promise((done, failed) => {
    picture.addEventListener("load", done, { once: true });
    picture.addEventListener("error", () => failed(new Error("the picture is missing")), { once: true });
    if (picture.complete) picture.src = picture.getAttribute("src"); // it failed: once more
  });
}

// Brings all media of `root` here before any of it plays; shows how far it is, and a button when it fails.
function loader(root, { loaded, failed = () => {} }) {
  const videos = all("video", root);
  const box = find(".loading", root);
  const bar = find("progress", box);
  const again = find("button", box);
  const say = (text) => { find("p", box).textContent = text; };

  async function load() {
    const shares = videos.map(() => 0);
    box.hidden = false;
    bar.hidden = false;
    again.hidden = true;
    say("Loading…");
    const told = (k) => (share) => {
      shares[k] = share;
      bar.value = shares.reduce((sum, one) => sum + one, 0) / shares.length;
    };
    try {
      const pictures = all("img", root).map(seePicture);
      await Promise.all([...pictures, ...videos.map(async (video, k) => present(video, await download(video.dataset.src, told(k))))]);
    } catch (error) {
      fail(error.message);
      return;
    }
    box.hidden = true;
    loaded();
  }

  function fail(why) {
    box.hidden = false;
    bar.hidden = true;
    again.hidden = false;
    say(`The videos could not be loaded (${why}).`);
    failed(why);
  }

  again.addEventListener("click", load);
  return { load, fail };
}

// The clips of `root`, as the clock takes them. Examples do not say how many frames they have: they are not stepped.
function clipsOf(root) {
  const { frames, fps } = root.dataset;
  return all("video", root).map((video) => ({
    video, fps: Number(fps ?? 8), get frames() { return frames ? Number(frames) : Math.round((video.duration || 1) * 8); },
  }));
}

function playExamples() {
  const clocks = [];
  for (const root of all(".example")) {
    const button = find(".play", root);
    const clips = clipsOf(root);
    const length = () => Math.max(...clips.map(({ video }) => video.duration || 1));
    const clock = createClock({ clips: () => clips, length, fps: () => 8, show: () => {}, together: true });
    clocks.push(clock);
    clock.change = () => { button.textContent = clock.playing ? "Pause" : "Play both"; };
    button.addEventListener("click", () => {
      for (const other of clocks) if (other !== clock) other.play(false);
      clock.play(!clock.playing);
    });
    loader(root, { loaded: () => { button.disabled = false; }, failed: () => { button.disabled = true; } }).load();
  }
}
