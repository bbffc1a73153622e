// The server's key: asked for when it wants one, and kept as long as the tab is open.

import { at, kept } from "./page.js";

const stored = kept("sessionStorage");
let given = stored.get("key") ?? "";

export const key = () => given;

/** What shows the key to the server. */
export function headers() {
  return given ? { Authorization: `Bearer ${given}` } : {};
}

/** An answer of the server; asks for the key as long as it is not the right one. */
export async function ask(path) {
  for (;;) {
    const response = await fetch(path, { headers: headers() });
    if (response.status !== 401) return response.json();
    at("wrong").hidden = !given;
    await enter();
  }
}

async function enter() {
  const door = at("door");
  if (!door.open) door.showModal();
  await new Promise((resolve) => door.addEventListener("close", resolve, { once: true }));
  given = at("key").value;
  at("key").value = "";
  stored.set("key", given);
}
