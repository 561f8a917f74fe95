// Elements, texts and small shapes that every part uses.

function element(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(3)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

// Texts come from the catalogue; {name} is filled in. A missing text shows its key, which a test looks for.
function makeTexts(texts) {
  return (key, values) => {
    let text = texts[key] ?? `[${key}]`;
    for (const [name, value] of Object.entries(values || {})) text = text.replaceAll(`{${name}}`, String(value));
    return text;
  };
}

// Drawn, not taken from a font: a shop floor's computer may lack the glyphs.
const ICONS = {
  zoom_out: "M5 12h14", zoom_in: "M5 12h14M12 5v14", fit: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  full_screen: "M14 10l6-6M15 4h5v5M10 14l-6 6M4 15v5h5", darker: "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5z",
  brighter: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v3M12 19v3M2 12h3M19 12h3M5 5l2 2M17 17l2 2M5 19l2-2M17 7l2-2",
  contrast_less: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 4v16", contrast_more: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 4v16M14.5 4.5v15M17 6v12",
  overlay: "M12 4l9 5-9 5-9-5zM3 14l9 5 9-5",
};

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [key, value] of Object.entries({ viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" })) svg.setAttribute(key, value);
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

function keycap(text) {
  return text ? element("kbd", { class: "keycap", "aria-hidden": "true" }, text) : null;
}

// A class name that breaks at its own joints first, and inside a word only where that is not enough.
function breakable(name) {
  return name.split(/(?<=[_/.-])/).flatMap((part, i) => (i ? [element("wbr"), part] : [part]));
}

function percent(share) {
  return share === null || share === undefined ? "–" : `${(100 * share).toFixed(share > 0.995 || share < 0.1 ? 1 : 0)} %`;
}

function freshId() {
  return crypto.randomUUID ? crypto.randomUUID() : `${Date.now().toString(16)}-${Math.random().toString(16).slice(2)}`;
}

// crypto.randomUUID exists in secure contexts only; a shop floor often uses plain http inside its own network.
function clockTime(iso, language) {
  return new Date(iso).toLocaleTimeString(language === "zh" ? "zh-CN" : "en-GB", { hour: "2-digit", minute: "2-digit" });
}
