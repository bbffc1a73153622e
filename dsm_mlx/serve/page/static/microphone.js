// The browser's microphone as blocks of sound at the model's rate.

import { Resampler, joined } from "./resample.js";

const RATE = 24000;
const BLOCK = 1920; // 80 ms
const QUIETEST = -60; // decibels: where the level begins

export class Microphone {
  /**
   * onBlock: called with Float32Arrays of 80 ms. onLevel: with 0 to 1. onMuted: with whether the
   * system has muted it. onLost: when it is gone.
   */
  constructor({ onBlock, onLevel, onMuted, onLost }) {
    Object.assign(this, { onBlock, onLevel, onMuted, onLost });
    this.left = new Float32Array(0);
    this.closed = false;
  }

  /**
   * device: its id, or "" for the browser's own choice. echoCancellation, noiseSuppression,
   * autoGainControl: what the browser does to the sound. Rejects where there is no microphone; when
   * `close` came in between, it is closed all the same.
   */
  async open({ device, echoCancellation, noiseSuppression = false, autoGainControl = false }) {
    const wanted = { echoCancellation, noiseSuppression, autoGainControl };
    if (device) wanted.deviceId = { exact: device };
    this.stream = await navigator.mediaDevices.getUserMedia({ audio: wanted });
    if (this.closed) return this.close();
    this.context = new AudioContext();
    await this.context.audioWorklet.addModule("/page/worklet.js");
    if (this.closed) return;
    this.resampler = new Resampler(Math.round(this.context.sampleRate), RATE);
    this.tap = new AudioWorkletNode(this.context, "tap", { numberOfOutputs: 0, channelCount: 1 });
    this.tap.port.onmessage = ({ data }) => this.take(data);
    this.context.createMediaStreamSource(this.stream).connect(this.tap);
    // A call on a telephone, for one, interrupts it.
    this.context.onstatechange = () => this.context.state !== "closed" && this.context.resume().catch(() => {});
    const [track] = this.stream.getAudioTracks();
    track.onended = () => this.onLost();
    track.onmute = () => this.onMuted(true);
    track.onunmute = () => this.onMuted(false);
    await this.context.resume();
  }

  take(piece) {
    if (this.closed) return;
    this.left = joined(this.left, this.resampler.push(piece));
    while (this.left.length >= BLOCK) {
      const block = this.left.slice(0, BLOCK);
      this.left = this.left.slice(BLOCK);
      this.onLevel(level(block));
      this.onBlock(block);
    }
  }

  /** Silence in the place of the sound. */
  mute(on) {
    this.stream?.getAudioTracks().forEach((track) => (track.enabled = !on));
  }

  close() {
    this.closed = true;
    this.stream?.getTracks().forEach((track) => track.stop());
    if (this.context && this.context.state !== "closed") this.context.close();
    this.onLevel(0);
  }
}

/** How loud it is, as people hear it: from 0 to 1. */
function level(block) {
  const peak = block.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
  return peak ? Math.min(1, Math.max(0, 1 - (20 * Math.log10(peak)) / QUIETEST)) : 0;
}

/** [{id, name}] of the microphones; names are known once one has been allowed. */
export async function devices() {
  const all = await navigator.mediaDevices.enumerateDevices();
  return all
    .filter((device) => device.kind === "audioinput" && device.deviceId && device.deviceId !== "default")
    .map((device, i) => ({ id: device.deviceId, name: device.label || `Microphone ${i + 1}` }));
}

/** Why a microphone could not be opened, for people. */
export function reason(error) {
  const known = {
    NotAllowedError: "The browser was not allowed to use the microphone. Its address bar has the setting.",
    NotFoundError: "There is no microphone.",
    NotReadableError: "The microphone is in use by another program, or was unplugged.",
    OverconstrainedError: "That microphone is not there any more.",
  };
  return known[error.name] ?? `The microphone could not be opened (${error.message}).`;
}
