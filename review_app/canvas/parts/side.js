// Beside the image: why it is here, what the model thinks, what similar images were, what the classes mean.

class Side {
  constructor(t, pictures) {
    this.t = t;
    this.pictures = pictures;
    this.note = element("textarea", { class: "note", rows: "2", "aria-label": t("note"), placeholder: t("note_hint"), "data-test": "note" });
    this.certainty = null;
    this.certaintyButtons = ["sure", "likely", "guess"].map((value) =>
      element("button", { type: "button", class: "pick", "data-certainty": value, "aria-pressed": "false",
        onclick: (e) => { e.currentTarget.blur(); this.setCertainty(this.certainty === value ? null : value); } }, t(`certainty_${value}`)));
    this.cards = element("div", { class: "cards" });
    this.said = element("div", { class: "card said" },
      element("h3", {}, t("your_words")), this.note,
      element("div", { class: "picks", role: "group", "aria-label": t("certainty") }, keycap("C"), this.certaintyButtons));
    this.node = element("aside", { class: "side", tabindex: "0", "aria-label": t("why_here") }, this.cards, this.said); // Tab and arrows scroll it
  }

  setCertainty(value) {
    this.certainty = value;
    for (const b of this.certaintyButtons) b.setAttribute("aria-pressed", String(b.dataset.certainty === value));
  }

  nextCertainty() {
    const order = [null, "sure", "likely", "guess"];
    this.setCertainty(order[(order.indexOf(this.certainty) + 1) % order.length]);
    this.said.scrollIntoView({ block: "nearest" }); // what a key changes is seen
  }

  clearWords() { this.note.value = ""; this.setCertainty(null); this.node.scrollTop = 0; }
  words() { return { note: this.note.value.trim() || null, certainty: this.certainty }; }

  card(title, ...content) { return element("section", { class: "card" }, element("h3", {}, title), content); }

  show(item, classes, { reveal = null, answer = null } = {}) {
    const t = this.t, cards = [];
    if (item) {
      const model = reveal ?? item;
      if (answer) cards.push(this.card(t("you_said"), element("p", { class: "verdict" }, answer)));
      if (item.readings) cards.push(this.readings(item.readings));
      if (model.why) cards.push(this.card(t("why_here"), element("p", { class: "why" }, model.why.title),
        model.why.detail ? element("p", { class: "quiet" }, model.why.detail) : null));
      else if (item.blind && item.mode !== "dispute") cards.push(this.card(t("why_here"), element("p", { class: "quiet" }, t("blind_why"))));
      if (model.prediction) cards.push(this.prediction(model.prediction));
      else if (item.blind && item.mode !== "dispute") cards.push(this.card(t("model_says"), element("p", { class: "quiet" }, t("blind_hidden"))));
      if (model.label_on_file) cards.push(this.card(t("label_on_file"), element("p", { class: "verdict" }, model.label_on_file)));
      if (model.similar?.some((s) => s.images.length)) cards.push(this.similar(model.similar));
      if (item.ref) cards.push(element("p", { class: "quiet ref" }, t("image"), " ", element("code", {}, item.ref)));
    }
    const definitions = classes.filter((c) => c.description);
    if (definitions.length) cards.splice(Math.max(cards.length - 1, 0), 0, element("details", { class: "card", open: this.definitionsOpen,
      ontoggle: (e) => { this.definitionsOpen = e.currentTarget.open; } }, // who wants them wants them beside the next image too
      element("summary", { onclick: (e) => { if (e.detail > 0) e.currentTarget.blur(); } }, t("definitions")), // Enter accepts again
      element("dl", {}, definitions.map((c) => [element("dt", {}, c.name), element("dd", {}, c.description)]))));
    this.cards.replaceChildren(...cards);
  }

  readings(readings) {
    return this.card(this.t("readings"), readings.map((r) => element("div", { class: "reading" },
      element("span", { class: "quiet" }, r.who), element("b", {}, r.label ?? this.t("no_label")),
      r.note ? element("span", { class: "quiet" }, `“${r.note}”`) : null)));
  }

  // The suggestion with its share, then the other likely classes; one line each, so that the similar images stay in view.
  prediction(p) {
    const others = p.top.filter(([name]) => name !== p.label).slice(0, 2);
    return element("section", { class: "card model", "data-test": "prediction" },
      element("div", { class: "card-head" }, element("h3", {}, this.t("model_says")),
        p.model_version ? element("span", { class: "quiet" }, this.t("model_version", { version: p.model_version })) : null),
      this.share(p.label, p.confidence, "verdict"), others.map(([name, share]) => this.share(name, share, "other")));
  }

  share(name, share, kind) {
    const known = share !== null && share !== undefined;
    return element("div", { class: `share ${kind}` }, element("span", { class: "share-name" }, breakable(name)),
      known ? element("span", { class: "share-value" }, percent(share)) : null,
      known ? element("span", { class: "share-track", "aria-hidden": "true" }, element("span", { style: `width:${100 * share}%` })) : null);
  }

  // The two classes side by side, as they are to be compared.
  similar(groups) {
    return this.card(this.t("similar"), element("div", { class: "similar" }, groups.filter((s) => s.images.length).map((s) =>
      element("div", { class: "similar-class" }, element("div", { class: "similar-name", title: s.class }, s.class),
        element("div", { class: "similar-row" }, s.images.map((name) => this.thumb(name, s.class)))))));
  }

  thumb(name, label) {
    const canvas = element("canvas", { class: "thumb", width: "64", height: "64", role: "img", "aria-label": label });
    const draw = (picture) => { if (picture) drawThumb(canvas, picture); };
    const ready = this.pictures.ready(name);
    if (ready) draw(ready); else this.pictures.promise(name)?.then(draw);
    return canvas;
  }
}
