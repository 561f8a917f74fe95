// One key per decision. Repeats are ignored; a key must come up before it counts again.

const GUARD_MS = 150;
const ACTION_KEYS = {
  Enter: "accept", z: "undo", Backspace: "undo", ArrowLeft: "back", ArrowRight: "forward", s: "skip", u: "unsure", x: "bad_image",
  n: "note", c: "certainty", "?": "help", o: "overlay", f: "full_screen", r: "fit", p: "source_pixels", "+": "zoom_in", "=": "zoom_in",
  "-": "zoom_out", "[": "contrast_less", "]": "contrast_more", ",": "darker", ".": "brighter", ArrowUp: "image_before",
  ArrowDown: "image_after", "Shift+ArrowLeft": "pan_left", "Shift+ArrowRight": "pan_right", "Shift+ArrowUp": "pan_up",
  "Shift+ArrowDown": "pan_down", Escape: "close", b: "return_to_readers",
};
const MAY_REPEAT = new Set(["zoom_in", "zoom_out", "contrast_less", "contrast_more", "darker", "brighter", "pan_left", "pan_right", "pan_up", "pan_down"]);

class Keys {
  constructor(act) {
    this.act = act;
    this.down = new Set();
    this.capture = null;
    this.onDown = (e) => this.pressed(e);
    this.onUp = (e) => this.down.delete(e.code);
    this.onBlur = () => this.down.clear();
    document.addEventListener("keydown", this.onDown, true);
    document.addEventListener("keyup", this.onUp, true);
    window.addEventListener("blur", this.onBlur);
  }

  close() {
    document.removeEventListener("keydown", this.onDown, true);
    document.removeEventListener("keyup", this.onUp, true);
    window.removeEventListener("blur", this.onBlur);
  }

  pressed(e) {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const target = e.composedPath()[0];
    const typing = target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
    const key = plainKey(e);
    if (typing) { if (key === "Escape") { e.preventDefault(); target.blur(); } return; }
    if (key === "Tab") return;
    const focused = target instanceof HTMLElement && /^(BUTTON|A|SUMMARY)$/.test(target.tagName) || target?.getAttribute?.("role") === "option";
    if (focused && (key === "Enter" || key === " ")) return; // a control reached with Tab keeps its own meaning
    const held = e.repeat || this.down.has(e.code);
    this.down.add(e.code);
    const taken = this.act(key, { held, at: e.timeStamp, event: e });
    if (taken) { e.preventDefault(); e.stopPropagation(); }
  }
}

// The letter on the keycap, whatever an input method makes of it (Chinese input gives "Process").
function plainKey(e) {
  if (/^Key[A-Z]$/.test(e.code) && !/^[a-zA-Z]$/.test(e.key)) return e.code[3].toLowerCase();
  if (/^(Digit|Numpad)[0-9]$/.test(e.code) && e.key === "Process") return e.code.slice(-1);
  if (e.shiftKey && e.key.startsWith("Arrow")) return `Shift+${e.key}`;
  return e.key.length === 1 ? e.key.toLowerCase() : e.key;
}

// Keys of this person on this machine: the classes' own keys, unless they chose others.
class KeyMap {
  constructor(classes, store) {
    this.store = `tailsight-keys/${store}`;
    let chosen = {};
    try { chosen = JSON.parse(localStorage.getItem(this.store) || "{}"); } catch { chosen = {}; }
    this.chosen = chosen;
    this.of = new Map();
    const taken = new Set(Object.values(chosen));
    for (const c of classes) this.of.set(c.name, chosen[c.name] ?? (taken.has(c.key) ? null : c.key));
  }

  classOf(key) { for (const [name, k] of this.of) if (k && k === key) return name; return null; }
  keyOf(name) { return this.of.get(name) ?? null; }

  // null when done, else why not.
  remap(name, key) {
    if (key.length !== 1 || key in ACTION_KEYS) return "key_reserved";
    const owner = this.classOf(key);
    if (owner && owner !== name) return "key_taken";
    this.of.set(name, key);
    this.chosen[name] = key;
    try { localStorage.setItem(this.store, JSON.stringify(this.chosen)); } catch { /* kept for this session */ }
    return null;
  }

  standard(classes) {
    try { localStorage.removeItem(this.store); } catch { /* nothing was kept */ }
    this.chosen = {};
    for (const c of classes) this.of.set(c.name, c.key);
  }
}
