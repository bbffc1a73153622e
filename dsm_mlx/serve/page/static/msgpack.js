// As much of msgpack as Kyutai's protocol has: maps of short names, numbers, texts and arrays.

/** {type: "Audio", pcm} with pcm a Float32Array, as bytes. */
export function audioMessage(pcm) {
  const head = [0x82, ...text("type"), ...text("Audio"), ...text("pcm"), 0xdd];
  const view = new DataView(new ArrayBuffer(head.length + 4 + 5 * pcm.length));
  head.forEach((byte, i) => view.setUint8(i, byte));
  view.setUint32(head.length, pcm.length);
  let at = head.length + 4;
  for (const sample of pcm) {
    view.setUint8(at, 0xca);
    view.setFloat32(at + 1, sample);
    at += 5;
  }
  return view.buffer;
}

/** {type: "Marker", id} with id below 128, as bytes. */
export function markerMessage(id) {
  return new Uint8Array([0x82, ...text("type"), ...text("Marker"), ...text("id"), id]).buffer;
}

function text(value) {
  const bytes = new TextEncoder().encode(value);
  return [0xa0 | bytes.length, ...bytes];
}

/** The value that bytes stand for. */
export function decode(buffer) {
  const view = new DataView(buffer);
  let at = 0;
  const take = (size) => (at += size) - size;
  const string = (size) => new TextDecoder().decode(new Uint8Array(buffer, take(size), size));
  const list = (size) => Array.from({ length: size }, value);
  const map = (size) => Object.fromEntries(Array.from({ length: size }, () => [value(), value()]));
  const sizes = { 0: () => view.getUint8(take(1)), 1: () => view.getUint16(take(2)), 2: () => view.getUint32(take(4)) };
  const numbers = {
    0xca: () => view.getFloat32(take(4)),
    0xcb: () => view.getFloat64(take(8)),
    0xcc: sizes[0],
    0xcd: sizes[1],
    0xce: sizes[2],
    0xcf: () => Number(view.getBigUint64(take(8))),
    0xd0: () => view.getInt8(take(1)),
    0xd1: () => view.getInt16(take(2)),
    0xd2: () => view.getInt32(take(4)),
    0xd3: () => Number(view.getBigInt64(take(8))),
  };
  function value() {
    const kind = view.getUint8(take(1));
    if (kind < 0x80) return kind;
    if (kind < 0x90) return map(kind & 0x0f);
    if (kind < 0xa0) return list(kind & 0x0f);
    if (kind < 0xc0) return string(kind & 0x1f);
    if (kind >= 0xe0) return kind - 0x100;
    if (kind in numbers) return numbers[kind]();
    if (kind >= 0xd9 && kind <= 0xdb) return string(sizes[kind - 0xd9]());
    if (kind === 0xdc || kind === 0xdd) return list(sizes[kind - 0xdb]());
    if (kind === 0xde || kind === 0xdf) return map(sizes[kind - 0xdd]());
    if (kind === 0xc0) return null;
    if (kind === 0xc2 || kind === 0xc3) return kind === 0xc3;
    throw new Error(`an unknown kind of value: ${kind}`);
  }
  return value();
}
