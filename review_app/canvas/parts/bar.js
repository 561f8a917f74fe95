// The line above the image: how far, what waits, and whether everything said is saved.

class Bar {
  constructor(t, language, onHelp) {
    this.t = t;
    this.language = language;
    this.count = element("span", { class: "count", "data-test": "progress" });
    this.fill = element("span", { class: "fill" });
    this.chips = element("span", { class: "chips" });
    this.last = element("span", { class: "last", "aria-live": "polite", "data-test": "last" });
    this.saved = element("span", { class: "saved", role: "status", "data-test": "saved" });
    this.help = element("button", { type: "button", class: "tool", "aria-label": t("keys"), title: `${t("keys")} (?)`,
      onclick: (e) => { e.currentTarget.blur(); onHelp(); } }, "?");
    this.node = element("div", { class: "bar" },
      element("div", { class: "progress" }, this.count, element("span", { class: "track", "aria-hidden": "true" }, this.fill)),
      this.chips, this.last, this.saved, this.help);
  }

  progress({ done, waiting }) {
    this.count.replaceChildren(element("b", {}, done), ` ${this.t("done")}  ·  `, element("b", {}, waiting), ` ${this.t("waiting")}`);
    this.fill.style.width = `${done + waiting ? (100 * done) / (done + waiting) : 0}%`;
  }

  showItem(item) {
    const chips = [];
    if (item?.kind === "hold")
      chips.push(element("span", { class: "chip hold" }, this.t("hold"), item.due_at ? ` · ${this.t("due", { time: clockTime(item.due_at, this.language) })}` : ""));
    if (item?.blind) chips.push(element("span", { class: "chip" }, this.t("blind")));
    if (item?.images?.length > 1) chips.push(element("span", { class: "chip" }, this.t("group_of", { n: item.images.length })));
    this.chips.replaceChildren(...chips);
  }

  showLast(text) { this.last.textContent = text; }

  showSaved(waiting, late) {
    const state = waiting === 0 ? "saved" : late ? "late" : "saving";
    this.saved.dataset.state = state;
    this.saved.textContent = state === "saved" ? `✓ ${this.t("all_saved")}` : this.t(state === "late" ? "not_saved" : "saving", { n: waiting });
  }
}
