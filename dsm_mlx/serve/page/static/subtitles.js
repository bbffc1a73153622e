// Words as files, cut as `dsm_mlx.captions` cuts them. A word is {text, start, end} in seconds.

const LONGEST_LINE = 42; // signs
const LINES = 2;
const GAP = 0.8; // seconds of silence, after which a new caption begins
const LONGEST = 7; // seconds
const SHORTEST = 0.8;

/** Turns, which are lists of words, a line each. */
export function txt(turns) {
  return turns.map((turn) => `${turn.map((word) => word.text).join(" ")}\n`).join("");
}

export function srt(turns) {
  const blocks = captions(turns).map(({ start, end, text }, i) => {
    const times = `${clock(start, ",")} --> ${clock(end, ",")}`;
    return `${i + 1}\n${times}\n${text.replace(/-{2,}>/g, "->")}\n`;
  });
  return blocks.join("\n");
}

export function vtt(turns) {
  const signs = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };
  const blocks = captions(turns).map(({ start, end, text }) => {
    const times = `${clock(start, ".")} --> ${clock(end, ".")}`;
    return `${times}\n${text.replace(/[&<>]/g, (sign) => signs[sign])}\n`;
  });
  return ["WEBVTT\n", ...blocks].join("\n");
}

/** Captions as {start, end, text}, in milliseconds that never run back or overlap. */
function captions(turns) {
  let now = 0;
  const found = cues(turns.flat());
  return found.map((lines, i) => {
    const words = lines.flat();
    const start = Math.max(now, milliseconds(words[0].start));
    let end = milliseconds(Math.max(...words.map((word) => word.end)));
    if (i + 1 < found.length) end = Math.min(end, milliseconds(found[i + 1][0][0].start));
    now = Math.max(end, start + milliseconds(SHORTEST));
    return { start, end: now, text: lines.map(joined).join("\n") };
  });
}

/** Lists of lines, which are lists of words. */
function cues(words) {
  const found = [];
  for (const word of words) {
    const cue = found.at(-1);
    if (!cue || begins(cue, word)) found.push([[word]]);
    else if (joined(cue.at(-1)).length + 1 + word.text.length <= LONGEST_LINE) cue.at(-1).push(word);
    else if (cue.length < LINES) cue.push([word]);
    else found.push([[word]]);
  }
  return found;
}

/** Whether a word begins a new caption. Times are compared in milliseconds. */
function begins(cue, word) {
  const words = cue.flat();
  const since = (time) => milliseconds(word.start - time) / 1000;
  const end = Math.max(...words.map(({ end }) => end));
  return (
    since(end) >= GAP ||
    milliseconds(word.end - words[0].start) / 1000 > LONGEST ||
    (since(words[0].start) >= SHORTEST && endsSentence(words.at(-1).text))
  );
}

/** Not with an initial, or with dots that mean more to come. */
export function endsSentence(text) {
  const bare = text.replace(/["')\]}»›”’]+$/, "").replace(/^["'([{«‹“‘¿¡]+/, "");
  return /[?!]$/.test(bare) || (/[^.]\.$/.test(bare) && !/^(\p{Lu}|(-?\p{L}{1,2}\.)+\p{L}{1,2})\.$/u.test(bare));
}

/** Milliseconds as hours, minutes, seconds and milliseconds. */
export function clock(time, point) {
  const two = (value) => String(Math.floor(value)).padStart(2, "0");
  const rest = String(time % 1000).padStart(3, "0");
  return `${two(time / 3600000)}:${two((time / 60000) % 60)}:${two((time / 1000) % 60)}${point}${rest}`;
}

function joined(line) {
  return line.map((word) => word.text).join(" ");
}

function milliseconds(seconds) {
  return Math.round(1000 * seconds);
}
