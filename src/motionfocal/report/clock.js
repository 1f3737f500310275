"use strict";
// One clock for all clips on the screen. Paused, each clip stands on the frame that the clock asks for. To play, all wait
// until the last of them stands on its frame, and set off together; who falls behind or runs ahead is led back by its rate.
function createClock({ visible, length, fps, readout }) {
  const find = (selector) => document.querySelector(selector);
  const clock = { playing: false, speed: 1, time: 0 };
  const patience = 1500; // milliseconds that all wait for one that does not load
  let last = 0;
  let gathering = null; // since when

  const isReady = (video) => video.readyState >= 2 && !video.seeking;
  const lastMoment = (clip) => (clip.frames - 0.5) / clip.fps;
  const frameOf = (clip) => Math.min(Math.floor(clock.time * clip.fps + 1e-6), clip.frames - 1);
  const middleOf = (clip) => (frameOf(clip) + 0.5) / clip.fps;

  // Put a paused clip on a moment; true once it stands there.
  function stand(clip, moment) {
    const { video } = clip;
    if (!video.paused) video.pause();
    if (!isReady(video)) return false;
    if (Math.abs(video.currentTime - moment) < 0.02 / clip.fps) return true;
    video.currentTime = moment;
    return false;
  }

  function follow(clip) {
    const { video } = clip;
    if (!isReady(video)) return;
    if (clock.time > lastMoment(clip)) { stand(clip, lastMoment(clip)); return; } // a short clip waits at its end
    const ahead = video.currentTime - clock.time;
    if (Math.abs(ahead) * clip.fps > 1.5 || video.ended) { video.currentTime = clock.time + 0.04 * clock.speed; return; }
    const straying = Math.abs(ahead) * clip.fps > 0.1;
    const rate = clock.speed * (straying ? Math.min(Math.max(1 - ahead / (0.4 * clock.speed), 0.6), 1.6) : 1);
    if (Math.abs(video.playbackRate - rate) > 0.03 * clock.speed) video.playbackRate = rate;
    if (video.paused) video.play().catch(() => {});
  }

  function advance(passed) {
    clock.time += passed / 1000 * clock.speed;
    if (clock.time < length()) return;
    clock.time = 0;
    gathering = last;
  }

  function tick(now) {
    const passed = now - last;
    last = now;
    const clips = visible().filter(({ video }) => !video.error);
    if (!clock.playing) {
      for (const clip of clips) stand(clip, middleOf(clip));
    } else if (gathering !== null) {
      const standing = clips.map((clip) => stand(clip, Math.min(clock.time, lastMoment(clip))));
      if (standing.every(Boolean) || now - gathering > patience) {
        gathering = null;
        clips.forEach(follow);
      }
    } else {
      if (passed > 400) gathering = now; // the page was hidden
      else advance(passed);
      if (gathering === null) clips.forEach(follow);
    }
    readout(clock.time);
    requestAnimationFrame(tick);
  }

  const play = find("#play");
  function setPlaying(playing) {
    clock.playing = playing;
    gathering = last;
    play.textContent = playing ? "Pause" : "Play";
  }

  function step(frames) {
    const count = Math.round(length() * fps());
    setPlaying(false);
    clock.time = ((Math.floor(clock.time * fps() + 1e-6) + frames + count) % count) / fps();
  }

  play.addEventListener("click", () => setPlaying(!clock.playing));
  find("#back").addEventListener("click", () => step(-1));
  find("#forward").addEventListener("click", () => step(1));
  for (const choice of document.querySelectorAll("input[name=speed]")) {
    choice.addEventListener("change", () => { clock.speed = Number(choice.value); });
  }
  clock.speed = Number(find("input[name=speed]:checked").value); // a browser that reloads remembers it
  clock.keys = { " ": () => setPlaying(!clock.playing), ",": () => step(-1), ".": () => step(1) };
  document.addEventListener("keydown", (event) => {
    const busy = event.target.closest("input:not([type=radio], [type=checkbox]), select, button, summary");
    const ticked = event.key === " " && event.target.closest("input");
    if (busy || ticked || event.ctrlKey || event.metaKey || event.altKey || !clock.keys[event.key]) return;
    event.preventDefault();
    clock.keys[event.key]();
  });
  setPlaying(!matchMedia("(prefers-reduced-motion: reduce)").matches);
  requestAnimationFrame(tick);
  return clock;
}
