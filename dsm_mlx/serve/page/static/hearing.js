// Captions: what their buttons do, and what is told.

import { Captions } from "./captions.js";
import { ask, key } from "./door.js";
import { Listener } from "./listener.js";
import { Microphone, devices, reason } from "./microphone.js";
import { at, kept, notice, save } from "./page.js";

const SIZES = [1, 1.15, 1.35, 1.7, 2.2, 3];
const TOLD_EVERY = 1000; // milliseconds
const TEXTS = {
  opening: "Asking for the microphone",
  connecting: "Connecting",
  listening: "Listening",
  lost: "No connection, trying again",
  stopped: "Stopped",
};

const captions = new Captions(at("captions"), at("newest"));
let microphone = null;
let listener = null;
let awake = null;
let lagTold = 0;

function state(name) {
  at("state").textContent = TEXTS[name];
  at("state").dataset.state = name;
  document.title = name === "listening" ? "Listening · dsm_mlx" : "dsm_mlx";
  if (name !== "listening") at("lag").textContent = "";
  if (name === "listening") notice();
  if (name === "lost" || name === "stopped") captions.pause();
}

function late(seconds) {
  if (performance.now() - lagTold < TOLD_EVERY) return;
  lagTold = performance.now();
  at("lag").textContent = `${seconds.toFixed(1)} s behind`;
}

function listening() {
  const made = new Listener({
    key,
    begun: listener?.time ?? 0,
    check: () => ask("/v1/models"),
    onWord: (word) => captions.word(word),
    onPause: () => captions.pause(),
    // Another one may have begun before this one has told its last words.
    onLag: (seconds) => made === listener && late(seconds),
    onError: notice,
    onState: (name) => made === listener && state(name),
  });
  return made;
}

async function listen() {
  notice();
  const opening = new Microphone({
    onBlock: (pcm) => listener.push(pcm),
    onLevel: (level) => (at("level").value = level),
    onMuted: (muted) => notice(muted ? "The microphone is muted." : ""),
    onLost: () => {
      hush();
      notice("The microphone is gone.");
    },
  });
  microphone = opening;
  shown(true);
  state("opening");
  listener = listening();
  try {
    await opening.open({ device: at("device").value, echo: at("echo").checked });
  } catch (error) {
    if (microphone === opening) hush();
    notice(reason(error));
    return;
  }
  if (microphone !== opening) return; // it was stopped meanwhile
  listener.start();
  await fillDevices();
  await stayAwake();
}

function hush() {
  microphone?.close();
  microphone = null;
  listener?.stop();
  sleep();
  shown(false);
}

function shown(on) {
  at("listen").textContent = on ? "Stop listening" : "Start listening";
}

async function fillDevices() {
  const menu = at("device");
  const chosen = menu.value;
  const found = await devices();
  menu.length = 1;
  for (const { id, name } of found) menu.add(new Option(name, id));
  menu.value = found.some(({ id }) => id === chosen) ? chosen : "";
}

/** The screen stays on while somebody reads captions; where a browser cannot, it does not. */
async function stayAwake() {
  sleep();
  const lock = await navigator.wakeLock?.request("screen").catch(() => null);
  awake = lock ?? null;
  if (!microphone) sleep();
}

function sleep() {
  awake?.release();
  awake = null;
}

async function again() {
  if (!microphone) return;
  hush();
  await listen();
}

const looks = kept("localStorage");
const sizeKept = Number(looks.get("size") ?? 2);
let size = Number.isInteger(sizeKept) ? sizeKept : 2;

function resize(by) {
  size = Math.min(SIZES.length - 1, Math.max(0, size + by));
  document.documentElement.style.setProperty("--size", `${SIZES[size]}rem`);
  at("smaller").disabled = size === 0;
  at("larger").disabled = size === SIZES.length - 1;
  looks.set("size", size);
  captions.scroll();
}

function contrast(on) {
  document.documentElement.dataset.contrast = on ? "high" : "";
  at("contrast").setAttribute("aria-pressed", on);
  looks.set("contrast", on ? "high" : "");
}

async function copy() {
  try {
    await navigator.clipboard.writeText(captions.file("txt"));
    at("copied").textContent = "Copied";
  } catch {
    notice("The browser did not allow to copy; TXT saves the same.");
  }
  setTimeout(() => (at("copied").textContent = ""), 3000);
}

export function start() {
  if (!window.isSecureContext) {
    at("listen").disabled = true;
    at("insecure").hidden = false;
  }
  resize(0);
  contrast(looks.get("contrast") === "high");
  at("listen").onclick = () => (microphone ? hush() : listen());
  at("device").onchange = again;
  at("echo").onchange = again;
  at("smaller").onclick = () => resize(-1);
  at("larger").onclick = () => resize(1);
  at("contrast").onclick = () => contrast(document.documentElement.dataset.contrast !== "high");
  at("clear").onclick = () => captions.clear(listener?.time ?? 0);
  at("copy").onclick = copy;
  for (const button of document.querySelectorAll("[data-file]")) {
    const kind = button.dataset.file;
    button.onclick = () => save(`captions.${kind}`, new Blob([captions.file(kind)], { type: "text/plain" }));
  }
  navigator.mediaDevices?.addEventListener("devicechange", fillDevices);
  document.addEventListener("visibilitychange", () => {
    if (microphone && document.visibilityState === "visible") stayAwake();
  });
}
