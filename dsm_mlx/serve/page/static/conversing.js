// A conversation: what the buttons do, and what is told.

import { Conversation } from "./conversation.js";
import { Dialogue } from "./dialogue.js";
import { ask, key } from "./door.js";
import { Ear } from "./ear.js";
import * as looks from "./looks.js";
import { at, kept, notice } from "./page.js";
import { Player } from "./player.js";
import { Realtime } from "./realtime.js";
import * as taking from "./taking.js";

const AHEAD = 0.06; // seconds: who waits for an answer waits for these, too
const FORMAT = { type: "audio/pcm", rate: 24000 };
const TEXTS = {
  opening: "Asking for the microphone",
  connecting: "Connecting",
  listening: "Listening",
  thinking: "Thinking",
  speaking: "Speaking",
  lost: "No connection, trying again",
  stopped: "Stopped",
};
const OFTEN = ["listening", "thinking", "speaking"]; // which can be heard, and need no telling

const dialogue = new Dialogue(at("dialogue"), at("newest"));
const store = kept("localStorage");
let ear = null;
let player = null;
let realtime = null;
let conversation = null;

function state(name) {
  at("state").setAttribute("aria-live", OFTEN.includes(name) ? "off" : "polite");
  at("state").textContent = name === "listening" && !ear.microphone ? "Ready" : TEXTS[name];
  at("state").dataset.state = name;
  document.title = OFTEN.includes(name) ? `${TEXTS[name]} · dsm_mlx` : "dsm_mlx";
}

function session() {
  const voice = at("voice").value;
  const instructions = at("instructions").value.trim();
  return {
    type: "realtime",
    model: at("model").value,
    ...(instructions && { instructions }),
    include: ["dsm_mlx.partial", "dsm_mlx.said", "dsm_mlx.latency"],
    audio: {
      input: { format: FORMAT, turn_detection: { type: "semantic_vad" } },
      output: { format: FORMAT, ...(voice && { voice }) },
    },
  };
}

/** A connection, in the place of the one before it. */
function connect() {
  leave();
  const made = new Realtime({
    key,
    check: () => ask("/v1/models"),
    model: () => at("model").value,
    session,
    history: () => dialogue.spoken,
    onEvent: (event) => made === realtime && take(event),
    onState: (name) => made === realtime && connected(name),
  });
  realtime = made;
  conversation = new Conversation({
    dialogue,
    player,
    send: (event) => made.send(event),
    onState: state,
    onError: notice,
  });
  made.start();
}

function take(event) {
  const own = event.session?.instructions;
  if (event.type === "session.created" && own) at("instructions").placeholder = own;
  conversation.take(event);
}

function connected(name) {
  if (name === "open") {
    notice();
    state(conversation.state);
  } else if (name === "lost") {
    lost();
  } else {
    state(name);
  }
}

/** Who only writes needs no connection before his next text. */
function lost() {
  const busy = conversation.state !== "listening";
  conversation.lost();
  if (ear.microphone || realtime.asks) {
    state("lost");
    return;
  }
  leave();
  if (busy) notice("The connection was lost.");
}

function leave() {
  const left = realtime;
  conversation?.lost();
  realtime = conversation = null;
  left?.stop();
  state("stopped");
}

/** For when somebody has pressed something: a browser makes no sound before. */
async function loudspeaker() {
  player ??= new Player(AHEAD);
  player.silent = !at("sound").checked;
  await player.resume();
}

async function talk() {
  notice();
  shown(true);
  state("opening");
  const [opened] = await Promise.all([ear.open(), loudspeaker()]);
  if (!opened) return;
  if (realtime) state(conversation.state);
  else connect();
}

function hush() {
  ear.close();
  leave();
  shown(false);
}

function shown(on) {
  at("listen").textContent = on ? "Stop talking" : "Start talking";
}

function mute() {
  ear.mute(!ear.muted);
  at("muting").setAttribute("aria-pressed", ear.muted);
}

/** What was written is said, as if it had been heard. */
async function write(event) {
  event.preventDefault();
  const text = at("text").value.trim();
  if (!text) return;
  at("text").value = "";
  notice();
  await loudspeaker();
  conversation?.interrupt();
  if (realtime?.open) realtime.add("user", text);
  dialogue.show(Symbol(), "user", text);
  if (!realtime) connect();
  realtime.ask();
}

function instruct() {
  const text = at("instructions").value.trim();
  store.set("instructions", text);
  if (text) realtime?.update();
  else if (realtime) connect(); // with the server's own
}

/** Answers are heard, or they are read: by a screen reader, too, which would talk into them. */
function sound() {
  if (player) player.silent = !at("sound").checked;
  at("dialogue").setAttribute("aria-live", at("sound").checked ? "off" : "polite");
}

/** models: [{id}] of those that answer. voices: [{id, name}]. */
export function start(models, voices) {
  for (const { id } of models) at("model").add(new Option(id, id));
  for (const { id, name } of voices) at("voice").add(new Option(name, id));
  ear = new Ear({
    processing: () => ({ echoCancellation: at("echo").checked, noiseSuppression: true, autoGainControl: true }),
    onBlock: (pcm) => realtime?.push(pcm),
    onGone: hush,
    onAgain: () => (ear.close(), ear.open()),
  });
  looks.start(() => dialogue.follow.scroll());
  taking.start("conversation", (kind) => dialogue.file(kind));
  at("instructions").value = store.get("instructions") ?? "";
  at("listen").onclick = () => (ear.microphone ? hush() : talk());
  at("muting").onclick = mute;
  at("interrupt").onclick = () => conversation?.interrupt();
  at("writing").onsubmit = write;
  at("sound").onchange = sound;
  at("model").onchange = at("voice").onchange = () => realtime?.update();
  at("instructions").onchange = instruct;
  at("clear").onclick = () => {
    dialogue.clear();
    if (realtime) connect();
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !at("door")?.open) conversation?.interrupt();
  });
}
