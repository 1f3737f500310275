"use strict";
// A vote outlives a reload, and is sent until the server has acknowledged it; reports are sent when there is time.

const kept = (() => {
  const here = new Map(); // browsers that forbid storage in frames keep it until the page goes
  const attempt = (work, otherwise) => { try { return work(); } catch { return otherwise(); } };
  const read = (key) => here.get(key) ?? attempt(() => localStorage.getItem(key), () => null);
  return {
    get: (key) => attempt(() => JSON.parse(read(key)), () => null),
    set: (key, value) => attempt(() => localStorage.setItem(key, JSON.stringify(value)), () => here.set(key, JSON.stringify(value))),
    remove: (key) => { here.delete(key); attempt(() => localStorage.removeItem(key), () => {}); },
    keys: (prefix) => attempt(() => Object.keys(localStorage), () => [...here.keys()]).filter((key) => key.startsWith(prefix)),
  };
})();
const OUTBOX = "motionfocal/vote/";
const DRAFT = "motionfocal/draft/";

// crypto.randomUUID is for HTTPS only, and laboratories have none at times.
function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const digits = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

function reporter(base, impression) {
  let waiting = [];
  function flush() {
    if (!waiting.length) return;
    const body = new Blob([JSON.stringify(waiting)], { type: "application/json" });
    waiting = [];
    if (!navigator.sendBeacon?.(`${base}/events`, body)) {
      fetch(`${base}/events`, { method: "POST", body, keepalive: true }).catch(() => {}); // a vote matters, a report does not
    }
  }
  addEventListener("pagehide", flush);
  setInterval(flush, 15_000);
  return {
    flush,
    note: (kind, what = {}) => {
      waiting.push({ kind, impression, what });
      if (waiting.length >= 50) flush();
    },
  };
}

const isPassing = (status) => status >= 500 || status === 408 || status === 425 || status === 429;
const isFinal = (status) => [400, 409, 413, 422].includes(status); // others are about the address, and a new one may do

// Resolves to what the server says, or {refused, final} if it does not want the vote; `told` hears of each failure.
async function deliver({ base, body }, told = () => {}) {
  for (let attempt = 0; ; attempt++) {
    try {
      const response = await fetch(`${base}/votes`, {
        method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
      });
      const answer = await response.json().catch(() => ({}));
      if (response.ok && answer.status === "recorded") return answer;
      if (!response.ok && !isPassing(response.status)) {
        const refused = typeof answer.error === "string" ? answer.error : `The server answered ${response.status}.`;
        return { refused, final: isFinal(response.status) };
      }
    } catch { /* no connection: the same as a server that is busy */ }
    const seconds = Math.min(2 ** attempt, 30);
    await new Promise((done) => {
      const wait = setTimeout(done, 1000 * seconds);
      const now = () => { clearTimeout(wait); done(); };
      addEventListener("online", now, { once: true });
      told(attempt + 1, seconds, now);
    });
  }
}

function forget(uid) {
  kept.remove(OUTBOX + uid);
  kept.remove(DRAFT + uid);
}

// Votes of other tasks that an earlier page could not hand over: at this page's address, or, if they are of somebody else
// who used this browser, at theirs.
async function deliverOthers(uid, base) {
  for (const key of kept.keys(OUTBOX)) {
    const vote = kept.get(key);
    if (key === OUTBOX + uid || !vote) continue;
    for (const address of new Set([base, vote.base])) {
      const { refused, final } = await deliver({ base: address, body: vote.body });
      if (refused && !final) continue;
      forget(key.slice(OUTBOX.length));
      break;
    }
  }
}
