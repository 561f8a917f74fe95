// The buttons under the image: one for each class with its key, and what else may be said.

const BAD_REASONS = ["blurred", "too_dark", "wrong_part", "obstructed", "other"];

class Decisions {
  constructor(t, keymap, classes, act) {
    this.t = t;
    this.keymap = keymap;
    this.act = act;
    this.classButtons = new Map();
    this.marked = [null, null];
    this.actionButtons = new Map();
    this.classRow = element("div", { class: "classes", role: "group", "aria-label": t("classes") });
    this.actionRow = element("div", { class: "actions", role: "group", "aria-label": t("actions") });
    this.bad = this.badDialog();
    this.node = element("div", { class: "decisions" }, this.classRow, this.actionRow, this.bad);
    this.setClasses(classes);
  }

  setClasses(classes) {
    this.classButtons.clear();
    this.classRow.replaceChildren(...classes.map((c) => {
      const button = element("button", { type: "button", class: "class", "data-class": c.name, title: c.description || c.name,
        onclick: (e) => { e.currentTarget.blur(); this.act("class", c.name, e.timeStamp); } },
        keycap(this.keymap.keyOf(c.name)?.toUpperCase()), element("span", {}, breakable(c.name)));
      this.classButtons.set(c.name, button);
      return button;
    }));
    this.mark(...this.marked);
  }

  setActions(names) {
    const caps = { accept: "↵", keep: "↵", undo: "Z", back: "←", forward: "→", skip: "S", unsure: "U", bad_image: "X", return_to_readers: "B" };
    const shown = names.join();
    if (this.shownActions === shown) return;
    this.shownActions = shown;
    this.actionButtons.clear();
    this.actionRow.replaceChildren(...names.map((name) => {
      const button = element("button", { type: "button", class: `action ${name}`, "data-action": name,
        onclick: (e) => { e.currentTarget.blur(); this.act(name === "keep" ? "accept" : name, null, e.timeStamp); } },
        keycap(caps[name]), element("span", {}, this.t(`action_${name}`)));
      this.actionButtons.set(name, button);
      return button;
    }));
  }

  enable(name, on) { const b = this.actionButtons.get(name); if (b) b.disabled = !on; }

  mark(predicted, chosen) {
    this.marked = [predicted, chosen];
    for (const [name, button] of this.classButtons) {
      button.classList.toggle("suggested", name === predicted);
      button.classList.toggle("chosen", name === chosen);
    }
  }

  badDialog() {
    const t = this.t;
    this.badNote = element("input", { type: "text", class: "note", "aria-label": t("bad_note"), placeholder: t("bad_note") });
    this.badButtons = BAD_REASONS.map((reason, i) => element("button", { type: "button", class: "class", "data-bad": reason,
      onclick: () => this.chooseBad(i) }, keycap(String(i + 1)), element("span", {}, t(`bad_${reason}`))));
    return element("div", { class: "dialog small", role: "dialog", "aria-label": t("action_bad_image"), hidden: true, "data-test": "bad-dialog" },
      element("h3", {}, t("bad_question")), element("div", { class: "classes" }, this.badButtons), this.badNote,
      element("p", { class: "quiet" }, t("esc_closes")));
  }

  openBad() { this.bad.hidden = false; this.badNote.value = ""; }
  closeBad() { this.bad.hidden = true; }
  get badOpen() { return !this.bad.hidden; }

  chooseBad(index) {
    const reason = BAD_REASONS[index];
    if (!reason) return;
    const words = this.badNote.value.trim();
    this.closeBad();
    this.act("bad", words ? `${reason}: ${words}` : reason, performance.now());
  }
}
