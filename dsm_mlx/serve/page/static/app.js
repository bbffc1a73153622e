// The page itself: what the server has is shown.

import { ask } from "./door.js";
import * as hearing from "./hearing.js";
import { at, notice } from "./page.js";
import * as speaking from "./speaking.js";

async function begin() {
  const modules = await ask("/api/modules_info");
  const hears = modules.some((module) => module.type === "batched_asr");
  const speaks = modules.some((module) => module.type !== "batched_asr");
  const models = await ask("/v1/models");
  const voices = speaks ? await ask("/v1/audio/voices") : { data: [] };
  if (hears) hearing.start();
  if (speaks) speaking.start(voices.data);
  at("hearing").hidden = !hears;
  at("speaking").hidden = !speaks;
  at("deaf").hidden = hears;
  at("mute").hidden = speaks;
  at("models").textContent = models.data.map((model) => model.id).join(", ");
}

begin().catch((error) => notice(`The server does not answer (${error.message}).`));
