// All keys on one sheet, and the place to change those of the classes.

class CheatSheet {
  constructor(t, keymap, classes, changed) {
    Object.assign(this, { t, keymap, classes, changed, listening: null });
    this.message = element("p", { class: "quiet", role: "status" });
    this.body = element("div", { class: "sheet-body" });
    this.node = element("div", { class: "dialog", role: "dialog", "aria-modal": "true", "aria-label": t("keys"), hidden: true, "data-test": "cheat-sheet" },
      element("div", { class: "sheet-head" }, element("h2", {}, t("keys")),
        element("button", { type: "button", class: "tool", "aria-label": t("close"), onclick: () => this.close() }, "×")),
      this.body, this.message);
  }

  get open() { return !this.node.hidden; }
  toggle() { if (this.open) this.close(); else this.show(); }
  close() { this.node.hidden = true; this.listening = null; }

  show() {
    const t = this.t;
    const both = (first, second) => `${t(`tool_${first}`)} · ${t(`tool_${second}`)}`;
    const rows = (pairs) => element("div", { class: "sheet-rows" }, pairs.map(([cap, text]) =>
      element("div", { class: "sheet-row" }, keycap(cap), element("span", {}, text))));
    const classRows = this.classes.map((c) => element("button", { type: "button", class: "sheet-row change", "data-remap": c.name,
      onclick: () => { this.listening = c.name; this.message.textContent = t("press_new_key", { name: c.name }); } },
      keycap(this.keymap.keyOf(c.name)?.toUpperCase() ?? "–"), element("span", {}, c.name)));
    this.body.replaceChildren(
      element("section", {}, element("h3", {}, t("classes")), element("div", { class: "sheet-rows" }, classRows),
        element("button", { type: "button", class: "pick", onclick: () => { this.keymap.standard(this.classes); this.changed(); this.show(); } }, t("standard_keys"))),
      element("section", {}, element("h3", {}, t("actions")), rows([["↵", t("action_accept")], ["Z", t("action_undo")], ["←", t("action_back")],
        ["→", t("action_forward")], ["S", t("action_skip")], ["U", t("action_unsure")], ["X", t("action_bad_image")], ["N", t("note")], ["C", t("certainty")]])),
      element("section", {}, element("h3", {}, t("image")), rows([["+ −", both("zoom_in", "zoom_out")], ["P", t("tool_source_pixels")], ["R", t("tool_fit")], ["⇧ ←↑↓→", t("tool_pan")],
        ["[ ]", both("contrast_less", "contrast_more")], [", .", both("darker", "brighter")], ["O", t("tool_overlay")], ["F", t("tool_full_screen")], ["↑ ↓", t("other_image")]])));
    this.message.textContent = t("change_keys_hint");
    this.node.hidden = false;
  }

  // Takes a key while the sheet is open.
  take(key) {
    if (key === "Escape" || (key === "?" && !this.listening)) { this.close(); return; }
    if (!this.listening) return;
    const problem = this.keymap.remap(this.listening, key);
    this.message.textContent = problem ? this.t(problem, { key: key.toUpperCase() }) : "";
    if (!problem) { this.listening = null; this.changed(); this.show(); }
  }
}
