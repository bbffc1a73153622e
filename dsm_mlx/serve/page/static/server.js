// What the server has.

import { ask } from "./door.js";
import { at, notice } from "./page.js";

/**
 * Shows which models there are, and what is missing. show: called with {hears, speaks}, whether
 * there are models for that, and the {models, voices} that the server lists.
 */
export async function begin(show) {
  try {
    const modules = await ask("/api/modules_info");
    const hears = modules.some((module) => module.type === "batched_asr");
    const speaks = modules.some((module) => module.type !== "batched_asr");
    const models = await ask("/v1/models");
    const voices = speaks ? await ask("/v1/audio/voices") : { data: [] };
    show({ hears, speaks, models: models.data, voices: voices.data });
    at("deaf").hidden = hears;
    at("mute").hidden = speaks;
    const speech = models.data.filter((model) => !model.answers);
    at("models").textContent = speech.map((model) => model.id).join(", ");
  } catch (error) {
    notice(`The server does not answer (${error.message}).`);
  }
}
