// The page of captions and speech: what the server has is shown.

import * as hearing from "./hearing.js";
import { at } from "./page.js";
import { begin } from "./server.js";
import * as speaking from "./speaking.js";

begin(({ hears, speaks, voices }) => {
  if (hears) hearing.start();
  if (speaks) speaking.start(voices);
  at("hearing").hidden = !hears;
  at("speaking").hidden = !speaks;
});
