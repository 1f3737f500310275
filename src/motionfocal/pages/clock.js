"use strict";
// One clock for all clips on the screen. Paused, each clip stands on the frame that the clock asks for. To play, all wait
// until the last of them stands on its frame, and set off together; who falls behind or runs ahead is led back by its rate.
//
//   clips()     {video, frames, fps} of each clip that is to follow
//   length()    seconds after which all begin again
//   fps()       frames a second, for single steps
//   show(clock) is called at each tick
//   passed()    is called when all was played from the first frame to the last while the page was in sight
//   together    no clip may be a frame away from another: the clock waits for the slowest, however long it takes
function createClock({ clips, length, fps, show, passed = () => {}, together = false }) {
  const clock = { playing: false, waiting: false, speed: 1, time: 0, change: () => {} };
  const patience = together ? Infinity : 1500; // milliseconds that all wait for one that does not load
  const leeway = 0.75; // frames between two clips that stay together
  let last = 0;
  let gathering = null; // since when
  let whole = true; // nothing was skipped since the first frame
  let standing = false; // paused, and all show the frame that was asked for

  const isReady = ({ video }) => video.readyState >= 2 && !video.seeking;
  const working = () => clips().filter(({ video }) => !video.error);
  const lastMoment = (clip) => (clip.frames - 0.5) / clip.fps;
  const endsBefore = (clip) => clip.frames / clip.fps < length() - 0.01;
  const frameOf = (clip) => Math.min(Math.floor(clock.time * clip.fps + 1e-6), clip.frames - 1);
  const middleOf = (clip) => (frameOf(clip) + 0.5) / clip.fps;
  const positions = (group) => group.filter((clip) => !endsBefore(clip)).map(({ video }) => video.currentTime);

  // Put a paused clip on a moment; true once it stands there. One that is paused while it seeks may seek for ever in Chromium.
  function stand(clip, moment) {
    const { video } = clip;
    if (!video.paused && !video.seeking) video.pause();
    if (!isReady(clip)) return false;
    if (Math.abs(video.currentTime - moment) < 0.02 / clip.fps) return true;
    video.currentTime = moment;
    return false;
  }

  function follow(clip) {
    const { video } = clip;
    if (!isReady(clip)) return;
    if (clock.time > lastMoment(clip)) { // a clip waits at its end; two that stay together reach theirs by themselves
      if (!together || endsBefore(clip)) stand(clip, lastMoment(clip));
      return;
    }
    const ahead = video.currentTime - clock.time;
    if (!together && (Math.abs(ahead) * clip.fps > 1.5 || video.ended)) {
      video.currentTime = clock.time + 0.04 * clock.speed;
      return;
    }
    const straying = Math.abs(ahead) * clip.fps > 0.1;
    const rate = clock.speed * (straying ? Math.min(Math.max(1 - ahead / (0.4 * clock.speed), 0.6), 1.6) : 1);
    if (Math.abs(video.playbackRate - rate) > 0.03 * clock.speed) video.playbackRate = rate;
    if (video.paused) video.play().catch(() => {}); // refused while the page is hidden: the next tick asks again
  }

  const isApart = (group) => {
    const at = positions(group);
    return !group.every(isReady) || (Math.max(...at) - Math.min(...at)) * fps() > leeway;
  };

  function advance(elapsed, group) {
    clock.time += elapsed / 1000 * clock.speed;
    if (together) clock.time = Math.min(clock.time, Math.min(...positions(group)) + 0.5 / fps());
    if (clock.time < length() - 1e-3) return;
    if (whole) passed();
    restart();
  }

  function restart() {
    clock.time = 0;
    whole = true;
    gathering = last;
  }

  function play(now, elapsed, group) {
    if (document.hidden || elapsed > 400) gathering = now; // nobody saw it, or the browser was busy
    if (gathering === null && together && isApart(group)) gathering = now;
    if (gathering === null) advance(elapsed, group);
    if (gathering !== null && !document.hidden) {
      const gathered = group.map((clip) => stand(clip, Math.min(clock.time, lastMoment(clip))));
      if (gathered.every(Boolean) || now - gathering > patience) gathering = null;
    }
    if (gathering === null) group.forEach(follow);
  }

  function tick(now) {
    const elapsed = now - last;
    last = now;
    const group = working();
    if (!clock.playing) standing = group.map((clip) => stand(clip, middleOf(clip))).every(Boolean);
    else if (group.length) play(now, elapsed, group);
    clock.waiting = clock.playing && gathering !== null && now - gathering > 300;
    show(clock);
    requestAnimationFrame(tick);
  }

  clock.play = (on) => {
    clock.playing = on;
    standing = false;
    gathering = last;
    clock.change();
  };

  clock.step = (frames) => {
    if (together && !clock.playing && !standing) return; // no frame is skipped in haste
    clock.play(false);
    const count = Math.round(length() * fps());
    const target = Math.floor(clock.time * fps() + 1e-6) + frames;
    if (target >= count && whole) passed();
    whole = (whole && target >= 0) || target === 0 || target === count;
    clock.time = ((target + count) % count) / fps();
  };

  clock.replay = () => {
    restart();
    clock.play(true);
  };

  requestAnimationFrame(tick);
  return clock;
}

// The keys of a page: `keys` maps a key to what it does. Fields of text keep all of theirs, and whatever has the focus keeps
// those that it answers itself. Digits are told by their place, which is the same on a French keyboard.
function listen(keys) {
  const held = new Set([",", "."]); // go on while they are held down
  document.addEventListener("keydown", (event) => {
    const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code);
    const key = digit ? digit[1] : event.key.toLowerCase();
    const writing = event.target.closest("textarea, select, input:not([type=radio], [type=checkbox])");
    const answered = (key === " " || key === "enter") && event.target.closest("a, button, summary, input");
    if (writing || answered || event.ctrlKey || event.metaKey || event.altKey || !keys[key]) return;
    event.preventDefault();
    if (!event.repeat || held.has(key)) keys[key]();
  });
}

// The player of a page: #play, #back, #forward, the radio buttons `speed`, and their keys, which are returned.
function operate(clock) {
  const find = (selector) => document.querySelector(selector);
  const play = find("#play");
  const keys = {
    " ": () => clock.play(!clock.playing),
    ",": () => clock.step(-1),
    ".": () => clock.step(1),
  };
  clock.change = () => { play.textContent = clock.playing ? "Pause" : "Play"; };
  play.addEventListener("click", keys[" "]);
  find("#back").addEventListener("click", keys[","]);
  find("#forward").addEventListener("click", keys["."]);
  for (const choice of document.querySelectorAll("input[name=speed]")) {
    choice.addEventListener("change", () => { clock.speed = Number(choice.value); });
  }
  clock.speed = Number(find("input[name=speed]:checked").value); // a browser that reloads remembers it
  listen(keys);
  return keys;
}
