// A text that is said: what the buttons do, and what is told.

import { headers } from "./door.js";
import { at, notice, save } from "./page.js";
import { Speaker } from "./speaker.js";

let speaker = null;

async function say() {
  const text = at("text").value.trim();
  if (!text || at("say").disabled) return;
  notice();
  speaker = new Speaker(headers());
  busy(true);
  at("said").textContent = "Thinking";
  const begun = performance.now();
  try {
    await speaker.say(text, at("voice").value, () => {
      const seconds = (performance.now() - begun) / 1000;
      at("said").textContent = `Speaking, first sound after ${seconds.toFixed(2)} s`;
    });
    at("said").textContent = `${speaker.seconds.toFixed(1)} s of sound`;
  } catch (error) {
    at("said").textContent = "";
    notice(`It could not be said: ${error.message}`);
  }
  busy(false);
}

/** Who has pressed one of the two buttons finds himself on the other. */
function busy(on) {
  const [from, to] = on ? [at("say"), at("hush")] : [at("hush"), at("say")];
  const there = document.activeElement === from;
  to.disabled = false;
  if (there) to.focus();
  from.disabled = true;
  at("keep").disabled = on || !speaker.seconds;
}

/** voices: [{id, name}]. */
export function start(voices) {
  for (const { id, name } of voices) at("voice").add(new Option(name, id));
  at("say").onclick = say;
  at("hush").onclick = () => speaker.stop();
  at("keep").onclick = () => save("speech.wav", speaker.wav());
  at("text").onkeydown = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) say();
  };
}
