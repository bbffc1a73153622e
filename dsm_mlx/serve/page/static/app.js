// The page itself: what the buttons do, and what is told.

import { Captions } from "./captions.js";
import { Listener } from "./listener.js";
import { Microphone, devices, reason } from "./microphone.js";
import { Speaker } from "./speaker.js";

const at = (id) => document.getElementById(id);
const SIZES = [1, 1.15, 1.35, 1.7, 2.2, 3];

let key = sessionStorage.getItem("key") ?? "";
const captions = new Captions(at("captions"));
let microphone = null;
let listener = null;
let speaker = null;
let awake = null;

function notice(text) {
  at("notice").textContent = text;
  at("notice").hidden = !text;
}

function save(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// ---- coming in

/** Answers of the server that need the key; asks for it as long as it is the wrong one. */
async function ask(path) {
  for (;;) {
    const headers = key ? { Authorization: `Bearer ${key}` } : {};
    const response = await fetch(path, { headers });
    if (response.status !== 401) return response.json();
    sessionStorage.removeItem("key");
    at("door").showModal();
    await new Promise((resolve) => at("door").addEventListener("close", resolve, { once: true }));
    key = at("key").value;
    sessionStorage.setItem("key", key);
  }
}

async function begin() {
  const modules = await (await fetch("/api/modules_info")).json();
  const hears = modules.some((module) => module.type === "batched_asr");
  const speaks = modules.some((module) => module.type !== "batched_asr");
  const models = await ask("/v1/models");
  at("models").textContent = models.data.map((model) => model.id).join(", ");
  at("hearing").hidden = !hears;
  at("speaking").hidden = !speaks;
  if (!hears) notice("This server has no model that listens.");
  if (!speaks) notice("This server has no model that speaks.");
  if (hears && !window.isSecureContext) {
    at("listen").disabled = true;
    notice("A browser gives its microphone to https pages and to this machine's own pages alone.");
  }
  if (speaks) {
    for (const { id, name } of (await ask("/v1/audio/voices")).data) at("voice").add(new Option(name, id));
  }
}

// ---- listening

function told(state) {
  const texts = {
    connecting: "Connecting …",
    listening: "Listening",
    lost: "The connection was lost; trying again …",
    stopped: "Stopped",
  };
  if (state.error) notice(`The server says: ${state.error}`);
  if (typeof state === "string") at("state").textContent = texts[state];
  if (state.lag !== undefined) at("state").textContent = `Listening, ${state.lag.toFixed(1)} s behind`;
  if (state === "listening") notice("");
  if (state === "stopped") captions.pause();
}

async function listen() {
  notice("");
  listener = new Listener({
    key,
    onWord: (word) => captions.word(word),
    onPause: () => captions.pause(),
    onState: told,
  });
  microphone = new Microphone({
    onBlock: (pcm) => listener?.push(pcm),
    onLevel: (level) => (at("level").value = level),
    onLost: () => {
      hush();
      notice("The microphone is gone.");
    },
  });
  try {
    await microphone.open({ device: at("device").value, echo: at("echo").checked });
  } catch (error) {
    notice(reason(error));
    microphone.close();
    microphone = listener = null;
    return;
  }
  shown(true);
  listener.start();
  await fillDevices();
  await stayAwake();
}

function hush() {
  microphone?.close();
  listener?.stop();
  microphone = null;
  awake?.release();
  awake = null;
  shown(false);
}

function shown(listening) {
  at("listen").textContent = listening ? "Stop listening" : "Start listening";
  at("listen").setAttribute("aria-pressed", listening);
}

async function fillDevices() {
  const menu = at("device");
  const chosen = menu.value;
  menu.length = 1;
  for (const { id, name } of await devices()) menu.add(new Option(name, id));
  menu.value = chosen;
}

/** The screen stays on while somebody reads captions; where a browser cannot, it does not. */
async function stayAwake() {
  awake = await navigator.wakeLock?.request("screen").catch(() => null);
}

at("listen").onclick = () => (microphone ? hush() : listen());
at("device").onchange = async () => {
  if (microphone) {
    hush();
    await listen();
  }
};
document.addEventListener("visibilitychange", () => {
  if (microphone && document.visibilityState === "visible") stayAwake();
});
navigator.mediaDevices?.addEventListener("devicechange", fillDevices);

// ---- how it looks, and files

let size = Number(localStorage.getItem("size") ?? 2);
function resize(by) {
  size = Math.min(SIZES.length - 1, Math.max(0, size + by));
  document.documentElement.style.setProperty("--size", `${SIZES[size]}rem`);
  localStorage.setItem("size", size);
}
function contrast(on) {
  document.documentElement.dataset.contrast = on ? "high" : "";
  at("contrast").setAttribute("aria-pressed", on);
  localStorage.setItem("contrast", on ? "high" : "");
}
resize(0);
contrast(localStorage.getItem("contrast") === "high");
at("smaller").onclick = () => resize(-1);
at("larger").onclick = () => resize(1);
at("contrast").onclick = () => contrast(document.documentElement.dataset.contrast !== "high");
at("clear").onclick = () => captions.clear();
at("copy").onclick = async () => {
  await navigator.clipboard.writeText(captions.file("txt"));
  at("state").textContent = "Copied";
};
for (const button of document.querySelectorAll("[data-file]")) {
  const kind = button.dataset.file;
  button.onclick = () => save(`captions.${kind}`, new Blob([captions.file(kind)], { type: "text/plain" }));
}

// ---- speaking

at("say").onclick = async () => {
  const text = at("text").value.trim();
  if (!text) return;
  speaker = new Speaker({ key });
  at("say").disabled = true;
  at("hush").disabled = false;
  at("said").textContent = "Thinking …";
  notice("");
  const begun = performance.now();
  try {
    await speaker.say(text, at("voice").value, () => {
      at("said").textContent = `Speaking, first sound after ${((performance.now() - begun) / 1000).toFixed(2)} s`;
    });
    at("said").textContent = `${speaker.seconds.toFixed(1)} s of sound`;
  } catch (error) {
    at("said").textContent = "";
    notice(`It could not be said: ${error.message}`);
  }
  at("keep").disabled = !speaker.seconds;
  at("say").disabled = false;
  at("hush").disabled = true;
};
at("hush").onclick = () => speaker?.stop();
at("keep").onclick = () => save("speech.wav", speaker.wav());

begin().catch((error) => notice(`The server does not answer (${error.message}).`));
