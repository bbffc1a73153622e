// The page of conversations: what the server has is shown.

import * as conversing from "./conversing.js";
import { at } from "./page.js";
import { begin } from "./server.js";

begin(({ hears, speaks, models, voices }) => {
  const answering = models.filter((model) => model.answers);
  const can = hears && speaks;
  if (can) conversing.start(answering, voices);
  at("conversing").hidden = at("wishes").hidden = !can;
  at("echoes").hidden = answering.some((model) => model.id !== "echo");
});
