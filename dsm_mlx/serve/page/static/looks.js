// How words look: their size and their contrast, kept for the next time.

import { at, kept } from "./page.js";

const SIZES = [1, 1.15, 1.35, 1.7, 2.2, 3];

const looks = kept("localStorage");
const sizeKept = Number(looks.get("size") ?? 2);
let size = Number.isInteger(sizeKept) ? sizeKept : 2;

function resize(by) {
  size = Math.min(SIZES.length - 1, Math.max(0, size + by));
  document.documentElement.style.setProperty("--size", `${SIZES[size]}rem`);
  at("smaller").disabled = size === 0;
  at("larger").disabled = size === SIZES.length - 1;
  looks.set("size", size);
}

function contrast(on) {
  document.documentElement.dataset.contrast = on ? "high" : "";
  at("contrast").setAttribute("aria-pressed", on);
  looks.set("contrast", on ? "high" : "");
}

/** onChange: after another size. */
export function start(onChange) {
  const sized = (by) => () => {
    resize(by);
    onChange();
  };
  resize(0);
  contrast(looks.get("contrast") === "high");
  at("smaller").onclick = sized(-1);
  at("larger").onclick = sized(1);
  at("contrast").onclick = () => contrast(document.documentElement.dataset.contrast !== "high");
}
