// The page of conversations: what the server has is shown.

import * as conversing from "./conversing.js";
import { ask } from "./door.js";
import { at, notice } from "./page.js";

async function begin() {
  const modules = await ask("/api/modules_info");
  const hears = modules.some((module) => module.type === "batched_asr");
  const speaks = modules.some((module) => module.type !== "batched_asr");
  const models = await ask("/v1/models");
  const answering = models.data.filter((model) => model.answers);
  const voices = speaks ? await ask("/v1/audio/voices") : { data: [] };
  const can = hears && speaks && answering.length > 0;
  if (can) conversing.start(answering, voices.data);
  at("conversing").hidden = at("wishes").hidden = !can;
  at("deaf").hidden = hears;
  at("mute").hidden = speaks;
  at("echoes").hidden = !can || answering.some((model) => model.id !== "echo");
  at("models").textContent = models.data.map((model) => model.id).join(", ");
}

begin().catch((error) => notice(`The server does not answer (${error.message}).`));
