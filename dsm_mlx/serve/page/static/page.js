// What all parts of the page use.

export const at = (id) => document.getElementById(id);

/** What went wrong, or nothing. */
export function notice(text = "") {
  at("notice").textContent = text;
  at("notice").hidden = !text;
}

export function element(kind, name = "", text = "") {
  const made = document.createElement(kind);
  made.className = name;
  made.textContent = text;
  return made;
}

export function save(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** One of the browser's stores; where it keeps nothing for anybody, nothing is kept. */
export function kept(name) {
  const tried = (work) => {
    try {
      return work(window[name]);
    } catch {
      return null;
    }
  };
  return {
    get: (key) => tried((store) => store.getItem(key)),
    set: (key, value) => tried((store) => store.setItem(key, value)),
  };
}
