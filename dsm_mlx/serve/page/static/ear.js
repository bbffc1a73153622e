// The page's microphone: its menu and its level; the screen stays on while it is open.

import { Microphone, devices, reason } from "./microphone.js";
import { at, notice } from "./page.js";

export class Ear {
  /**
   * processing: gives what the browser does to the sound, as `Microphone.open` takes it.
   * onBlock: called with Float32Arrays of 80 ms. onGone: when the microphone is, or never came.
   * onAgain: when another one was chosen while one is open.
   */
  constructor({ processing, onBlock, onGone, onAgain }) {
    Object.assign(this, { processing, onBlock, onGone, onAgain });
    this.microphone = this.awake = null;
    this.muted = false;
    at("device").onchange = at("echo").onchange = () => this.microphone && onAgain();
    navigator.mediaDevices?.addEventListener("devicechange", () => this.fill());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.stayAwake();
    });
    at("listen").disabled = !window.isSecureContext;
    at("insecure").hidden = window.isSecureContext;
  }

  /** Whether it is open now: not where it could not be opened, which is told, or was closed. */
  async open() {
    const opening = new Microphone({
      onBlock: this.onBlock,
      onLevel: (level) => (at("level").value = level),
      onMuted: (muted) => notice(muted ? "The microphone is muted." : ""),
      onLost: () => {
        this.onGone();
        notice("The microphone is gone.");
      },
    });
    this.microphone = opening;
    try {
      await opening.open({ device: at("device").value, ...this.processing() });
    } catch (error) {
      if (this.microphone === opening) this.onGone();
      notice(reason(error));
      return false;
    }
    opening.mute(this.muted);
    if (this.microphone === opening) await this.fill();
    await this.stayAwake();
    return this.microphone === opening;
  }

  close() {
    this.microphone?.close();
    this.microphone = null;
    this.sleep();
  }

  /** Silence in the place of the sound. */
  mute(on) {
    this.muted = on;
    this.microphone?.mute(on);
  }

  async fill() {
    const menu = at("device");
    const chosen = menu.value;
    const found = await devices();
    menu.length = 1;
    for (const { id, name } of found) menu.add(new Option(name, id));
    menu.value = found.some(({ id }) => id === chosen) ? chosen : "";
  }

  /** The screen stays on while it listens; where a browser cannot, it does not. */
  async stayAwake() {
    this.sleep();
    if (!this.microphone) return;
    this.awake = (await navigator.wakeLock?.request("screen").catch(() => null)) ?? null;
    if (!this.microphone) this.sleep();
  }

  sleep() {
    this.awake?.release();
    this.awake = null;
  }
}
