// The browser's microphone as blocks of sound at the model's rate.

import { Resampler } from "./resample.js";

const RATE = 24000;
const BLOCK = 1920; // 80 ms

export class Microphone {
  /** onBlock: called with Float32Arrays of 80 ms. onLevel: with 0 to 1. onLost: when it is gone. */
  constructor({ onBlock, onLevel, onLost }) {
    Object.assign(this, { onBlock, onLevel, onLost });
    this.left = new Float32Array(0);
  }

  async open({ device, echo }) {
    const wanted = { echoCancellation: echo, noiseSuppression: false, autoGainControl: true };
    if (device) wanted.deviceId = { exact: device };
    this.stream = await navigator.mediaDevices.getUserMedia({ audio: wanted });
    this.context = new AudioContext();
    await this.context.audioWorklet.addModule("/page/worklet.js");
    this.resampler = new Resampler(this.context.sampleRate, RATE);
    this.tap = new AudioWorkletNode(this.context, "tap", { numberOfOutputs: 0, channelCount: 1 });
    this.tap.port.onmessage = ({ data }) => this.take(data);
    this.context.createMediaStreamSource(this.stream).connect(this.tap);
    this.stream.getAudioTracks()[0].onended = () => this.onLost();
    await this.context.resume();
  }

  take(piece) {
    let most = 0;
    for (const sample of piece) most = Math.max(most, Math.abs(sample));
    this.onLevel(most);
    const more = this.resampler.push(piece);
    const all = new Float32Array(this.left.length + more.length);
    all.set(this.left);
    all.set(more, this.left.length);
    let at = 0;
    for (; at + BLOCK <= all.length; at += BLOCK) this.onBlock(all.slice(at, at + BLOCK));
    this.left = all.slice(at);
  }

  close() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.context?.close();
    this.onLevel(0);
  }
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
