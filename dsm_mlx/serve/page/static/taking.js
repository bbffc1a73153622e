// What was said, to be taken along: copied, or saved as a file.

import { at, notice, save } from "./page.js";

const TOLD = 3000; // milliseconds

/** name: of the files, without their endings. file: gives the text of a kind. */
export function start(name, file) {
  at("copy").onclick = () => copy(file("txt"));
  for (const button of document.querySelectorAll("[data-file]")) {
    const kind = button.dataset.file;
    button.onclick = () => save(`${name}.${kind}`, new Blob([file(kind)], { type: "text/plain" }));
  }
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    at("copied").textContent = "Copied";
  } catch {
    notice("The browser did not allow to copy; TXT saves the same.");
  }
  setTimeout(() => (at("copied").textContent = ""), TOLD);
}
