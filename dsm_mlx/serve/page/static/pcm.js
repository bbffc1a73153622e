// Sound as the realtime protocol has it: base64 of 16-bit little-endian samples.

/** An Int16Array. */
export function samples(base64) {
  return new Int16Array(Uint8Array.from(atob(base64), (sign) => sign.charCodeAt(0)).buffer);
}

/** Of a Float32Array of no more than some thousand samples. */
export function base64(pcm) {
  const whole = Int16Array.from(pcm, (sample) => Math.round(32767 * Math.min(1, Math.max(-1, sample))));
  return btoa(String.fromCharCode(...new Uint8Array(whole.buffer)));
}
