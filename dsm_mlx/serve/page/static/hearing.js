// Captions: what their buttons do, and what is told.

import { Captions } from "./captions.js";
import { ask, key } from "./door.js";
import { Ear } from "./ear.js";
import { Listener } from "./listener.js";
import * as looks from "./looks.js";
import { at, notice } from "./page.js";
import * as taking from "./taking.js";

const TOLD_EVERY = 1000; // milliseconds
const TEXTS = {
  opening: "Asking for the microphone",
  connecting: "Connecting",
  listening: "Listening",
  lost: "No connection, trying again",
  stopped: "Stopped",
};

const captions = new Captions(at("captions"), at("newest"));
let ear = null;
let listener = null;
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
  shown(true);
  state("opening");
  listener = listening();
  if (await ear.open()) listener.start();
}

function hush() {
  ear.close();
  listener?.stop();
  shown(false);
}

function shown(on) {
  at("listen").textContent = on ? "Stop listening" : "Start listening";
}

async function again() {
  hush();
  await listen();
}

export function start() {
  ear = new Ear({
    processing: () => ({ echoCancellation: at("echo").checked }),
    onBlock: (pcm) => listener.push(pcm),
    onGone: hush,
    onAgain: again,
  });
  looks.start(() => captions.follow.scroll());
  taking.start("captions", (kind) => captions.file(kind));
  at("listen").onclick = () => (ear.microphone ? hush() : listen());
  at("clear").onclick = () => captions.clear(listener?.time ?? 0);
}
