// The server's key: asked for when it wants one, and kept as long as the tab is open.

import { at, kept } from "./page.js";

const DIALOG = `
  <dialog id="door" aria-labelledby="door-title">
    <form method="dialog">
      <h2 id="door-title">This server asks for a key</h2>
      <p>It was told when the server started.</p>
      <label for="key">Key</label>
      <input id="key" type="password" autocomplete="off" required>
      <p id="wrong" role="alert" hidden>That is not the key.</p>
      <button class="main" type="submit">Go in</button>
    </form>
  </dialog>`;

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
    await enter();
  }
}

async function enter() {
  if (!at("door")) document.body.insertAdjacentHTML("beforeend", DIALOG);
  const door = at("door");
  at("wrong").hidden = !given;
  if (!door.open) door.showModal();
  await new Promise((resolve) => door.addEventListener("close", resolve, { once: true }));
  given = at("key").value;
  at("key").value = "";
  stored.set("key", given);
}
