"use strict";
// The annotator's pages. A task is a draft that is kept at each change, two players on one clock (clock.js) whose clips come
// whole (clips.js), an answer (answers.js) that opens when both clips were seen to the end, and a vote (votes.js).

// The players of a task. `ready` is whether both clips are here; `changed` is called when that or the playing changes.
function createPlayers(main, { note, passed, changed }) {
  const clips = clipsOf(main);
  const [frames, fps] = [Number(main.dataset.frames), Number(main.dataset.fps)];
  const stillness = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const controls = find(".controls", main);
  const buffering = find("#buffering");
  const players = { ready: false, failed: false, active: 0 };
  let shown = -1;
  let stalled = 0;
  let before = performance.now();

  function show({ time, waiting }) {
    const now = performance.now();
    if (!document.hidden && players.ready) players.active += Math.min(now - before, 1000) / 1000;
    before = now;
    const frame = Math.min(Math.floor(time * fps + 1e-6), frames - 1);
    if (frame !== shown) {
      shown = frame;
      find("#playhead").value = frame + 1;
      find("#frame").textContent = `${frame + 1} / ${frames}`;
    }
    if (waiting !== buffering.hidden) return;
    buffering.hidden = !waiting;
    if (waiting) stalled = now;
    else note("stall", { seconds: Math.round((now - stalled) / 10) / 100 });
  }

  const clock = createClock({
    clips: () => (players.ready ? clips : []), length: () => frames / fps, fps: () => fps, show, passed, together: true,
  });
  const keys = operate(clock);
  const { change } = clock;
  clock.change = () => { change(); changed(); };

  function become(ready, failed) {
    Object.assign(players, { ready, failed });
    controls.disabled = !ready;
    clock.play(ready && !stillness);
  }
  const media = loader(main, {
    loaded: () => {
      note("loaded", { seconds: Math.round(performance.now()) / 1000 });
      find("#stillness").hidden = !stillness;
      become(true, false);
    },
    failed: (why) => {
      note("error", { why: why.slice(0, 200) });
      become(false, true);
    },
  });
  for (const { video } of clips) video.addEventListener("error", () => { if (players.ready) media.fail("a video broke off"); });

  keys.r = () => { clock.replay(); note("replay"); };
  find("#replay").addEventListener("click", keys.r);
  for (const choice of all("input[name=speed]")) choice.addEventListener("change", () => note("speed", { speed: clock.speed }));
  for (const [key, act] of Object.entries(keys)) keys[key] = () => { if (players.ready) act(); };
  return Object.assign(players, { clock, keys, load: media.load });
}

// Hands a vote over; says how it goes, and ends with the next page: at once, or after the feedback of a training task.
function createHandover({ base, uid, form, say, note, flush, keys, gone }) {
  const again = find("#again");

  // The browser's own error page would not try again: go when somebody answers.
  async function leave(next) {
    flush();
    while (!await fetch("/health", { cache: "no-store" }).then(() => true, () => false)) {
      say("Saved. The server does not answer: waiting for it.", "attention");
      await new Promise((done) => setTimeout(done, 1000));
    }
    location.replace(next);
  }

  function conclude(card, heading, text, next) {
    find("h2", card).textContent = heading;
    find("p", card).textContent = text;
    form.classList.add("over");
    card.hidden = false;
    say("");
    const button = find("button", card);
    button.addEventListener("click", () => leave(next));
    keys.enter = () => button.click();
    button.focus();
  }

  function told(attempts, seconds, now) {
    note("unsaved", { attempts });
    say(`Not saved yet: the server does not answer. Trying again in ${seconds} s. Your answer is kept on this computer.`, "attention");
    again.hidden = false;
    again.onclick = () => { again.hidden = true; say("Saving…"); now(); };
  }

  return async (body) => {
    say("Saving…");
    const answer = await deliver({ base, body }, told);
    again.hidden = true;
    gone(!answer.refused || answer.final);
    if (answer.refused) conclude(find("#refused"), "Not stored", answer.refused, base);
    else if (answer.feedback) {
      find("#feedback").classList.toggle("right", answer.feedback.right);
      conclude(find("#feedback"), answer.feedback.right ? "Correct" : "Not quite", answer.feedback.why, answer.next);
    } else {
      say("Saved.", "good");
      leave(answer.next);
    }
  };
}

function work(main) {
  const { base, uid } = main.dataset;
  const form = find("#answer");
  const status = find("#status");
  const draft = { left: 0, right: 0, active: 0, ...kept.get(DRAFT + uid) };
  const earlier = kept.get(OUTBOX + uid);
  const { note, flush } = reporter(base, uid);
  let stage = "answering"; // then sending, then over

  function say(text, kind = "") {
    if (status.textContent !== text) status.textContent = text;
    status.className = kind;
  }

  const isOpen = () => stage === "answering" && players.ready && draft.left > 0 && draft.right > 0;
  const active = () => Math.round((draft.active + players.active) * 100) / 100;

  function keep() {
    if (stage !== "over") kept.set(DRAFT + uid, { ...draft, ...answers.drafted(), active: active() });
  }

  function refresh() {
    answers.refresh(isOpen());
    if (stage !== "answering") return;
    if (players.failed) say("The videos could not be loaded. Press “Try again”.", "attention");
    else if (!players.ready) say("The videos are being loaded.");
    else if (isOpen()) say(answers.lacking() || (answers.next() ? "Go on to the next question." : "Ready to submit."));
    else say(players.clock.playing ? "Watch both videos to the end." : "Press Play, and watch both videos to the end.");
  }

  function changed() {
    refresh();
    keep();
  }

  function passed() {
    draft.left += 1;
    draft.right += 1;
    if (draft.left === 1) refresh();
    keep();
  }

  function advance() {
    if (!isOpen()) return;
    if (answers.lacking()) say(answers.lacking(), "attention");
    else if (answers.next()) answers.turnTo(answers.next());
    else submit();
  }

  function submit() {
    const body = {
      impression: uid,
      uid: uuid(),
      ...answers.given(),
      seen: { left: draft.left, right: draft.right, active: active() },
      device: { width: innerWidth, height: innerHeight, speed: players.clock.speed, pixels: devicePixelRatio },
    };
    kept.set(OUTBOX + uid, { base, body });
    send(body);
  }

  function send(body) {
    stage = "sending";
    refresh();
    handOver(body);
  }

  function gone(forGood) {
    stage = "over";
    if (forGood) forget(uid);
  }

  const answers = createAnswers(form, changed);
  const players = createPlayers(main, { note, passed, changed: refresh });
  const { keys } = players;
  const handOver = createHandover({ base, uid, form, say, note, flush, keys, gone });

  keys[1] = keys.a = () => answers.choose("left");
  keys[2] = keys.b = () => answers.choose("right");
  keys[0] = keys.t = () => answers.choose("tie");
  for (let place = 0; place < 7; place++) keys[3 + place] = () => answers.tick(place);
  keys.enter = advance;
  form.addEventListener("submit", (event) => { event.preventDefault(); advance(); });
  // Who works by mouse, and plays by Space, does not mean the box that was clicked last.
  document.addEventListener("click", (event) => {
    if (event.detail && !event.target.closest("textarea, summary")) document.activeElement?.blur();
  });

  let hidden = 0;
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) hidden = performance.now();
    else note("hidden", { seconds: Math.round((performance.now() - hidden) / 100) / 10 });
    keep();
    flush();
  });
  addEventListener("pagehide", keep);

  answers.restore(draft);
  players.load();
  deliverOthers(uid, base);
  if (earlier) send(earlier.body);
}

// Looks again when somebody answers, since the browser's own error page would not.
function wait(main) {
  const look = () => fetch("/health", { cache: "no-store" }).then((answer) => answer.ok && location.reload(), () => {});
  setInterval(look, 1000 * main.dataset.seconds);
}

if (find("#task")) work(find("#task"));
if (find("#waiting")) wait(find("#waiting"));
if (find(".example")) playExamples();
find("#handover")?.submit();
