// Many images of one predicted class: select, look closely at some, label together, undo together.

const SPOT_SHARE = 0.1;
const SPOT_FROM = 8; // fewer images are seen well enough in the grid itself

class Grid {
  constructor(shell) {
    Object.assign(this, { shell, t: shell.t, pictures: shell.pictures, outbox: shell.outbox });
    this.items = [];
    this.selected = new Set();
    this.done = new Set(this.outbox.waiting.flatMap((d) => (d.tasks || []).map((x) => x.visit)));
    this.batches = [];
    this.focus = 0;
    this.spot = null;
    this.cells = element("div", { class: "cells", role: "listbox", "aria-multiselectable": "true", "aria-label": this.t("images") });
    this.count = element("span", { class: "count", "data-test": "selected", "aria-live": "polite" });
    this.legend = element("span", { class: "quiet", hidden: true }, element("b", { class: "hold-dot", "aria-hidden": "true" }, "●"), " ", this.t("hold"));
    this.head = element("div", { class: "grid-head" }, this.count, this.legend,
      this.button("select_all", "A", () => this.selectAll()), this.button("select_none", "D", () => this.selectNone()));
    this.node = element("div", { class: "grid" }, this.head, this.cells);
    shell.side.node.hidden = true;
  }

  button(name, cap, act) {
    return element("button", { type: "button", class: "pick", "data-action": name, onclick: (e) => { e.currentTarget.blur(); act(); } }, keycap(cap), this.t(name));
  }

  update(header, settled) {
    this.header = header;
    for (const [decision, answer] of settled) {
      if (decision.kind === "batch") {
        if (!answer.ok) for (const x of decision.tasks) this.done.delete(x.visit);
        for (const visit of answer.refused || []) this.done.delete(visit);
        this.shell.bar.showLast(answer.ok ? this.t("batch_saved", { n: answer.count, label: decision.label }) : answer.what);
      } else if (decision.kind === "undo") {
        this.shell.bar.showLast(answer.ok ? this.t("batch_undone", { n: answer.count }) : answer.what);
        if (answer.ok) this.batches.pop();
      }
    }
    this.items = header.queue.filter((i) => !this.done.has(i.visit));
    for (const visit of [...this.selected]) if (!this.items.some((i) => i.visit === visit)) this.selected.delete(visit);
    this.focus = Math.min(this.focus, Math.max(this.items.length - 1, 0));
    this.draw();
  }

  draw() {
    const missing = this.items.map((i) => i.small).filter((n) => n && !this.pictures.promise(n));
    if (missing.length) { missing.forEach((n) => this.outbox.wanted.add(n)); clearTimeout(this.wanting); this.wanting = setTimeout(() => this.outbox.flush(), 80); }
    this.cells.replaceChildren(...this.items.map((item, i) => element("div", { class: "cell", role: "option", "data-visit": item.visit,
      "aria-selected": String(this.selected.has(item.visit)), "data-focus": i === this.focus ? "" : null,
      onclick: (e) => { this.focus = i; e.shiftKey && this.anchor !== undefined ? this.range(this.anchor, i) : this.toggle(i); this.anchor = i; } },
      item.small ? this.shell.side.thumb(item.small, item.ref) : element("span", { class: "quiet" }, this.t("image_missing")),
      element("span", { class: "cell-foot" }, percent(item.confidence), item.kind === "hold" ? element("b", { class: "hold-dot", title: this.t("hold") }, "●") : null))));
    this.legend.hidden = !this.items.some((item) => item.kind === "hold");
    if (!this.items.length) this.cells.replaceChildren(element("p", { class: "empty" }, this.t("batch_empty")));
    this.showCount();
    this.shell.decisions.setActions(["accept", "skip_spot", "undo"].filter((n) => n !== "skip_spot"));
    this.shell.decisions.enable("accept", this.selected.size > 0);
    this.shell.decisions.enable("undo", this.batches.length > 0 || this.header.can_undo);
    this.shell.decisions.mark(this.header.predicted, null);
    const waiting = this.outbox.waiting.filter((d) => d.kind !== "next").length;
    this.shell.bar.showSaved(waiting, this.outbox.late());
    this.shell.bar.progress(this.header.progress);
  }

  showCount() { this.count.textContent = this.t("selected", { n: this.selected.size, all: this.items.length }); this.shell.decisions.enable("accept", this.selected.size > 0); }

  mark() {
    [...this.cells.children].forEach((cell, i) => {
      cell.setAttribute("aria-selected", String(this.selected.has(cell.dataset.visit)));
      if (i === this.focus) { cell.dataset.focus = ""; cell.scrollIntoView({ block: "nearest" }); } else delete cell.dataset.focus;
    });
    this.showCount();
  }

  toggle(i) {
    const visit = this.items[i]?.visit;
    if (!visit) return;
    if (this.selected.has(visit)) this.selected.delete(visit); else this.selected.add(visit);
    this.mark();
  }

  range(from, to) {
    for (let i = Math.min(from, to); i <= Math.max(from, to); i++) this.selected.add(this.items[i].visit);
    this.mark();
  }

  selectAll() { this.items.forEach((i) => this.selected.add(i.visit)); this.mark(); }
  selectNone() { this.selected.clear(); this.mark(); }
  columns() { return Math.max(1, Math.round(this.cells.clientWidth / (this.cells.firstElementChild?.offsetWidth || 140))); }

  act(name, value, at, key) {
    if (this.spot) return this.spotAct(name, value, key);
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns(), ArrowDown: this.columns() }[key];
    if (step) { this.focus = Math.min(Math.max(this.focus + step, 0), this.items.length - 1); this.mark(); return true; }
    if (key === " ") { this.toggle(this.focus); return true; }
    if (key === "a") { this.selectAll(); return true; }
    if (key === "d") { this.selectNone(); return true; }
    if (name === "undo") { this.outbox.add({ kind: "undo", request_id: freshId(), of_visit: null }); this.shell.bar.showLast(this.t("undo_under_way")); return true; }
    if (name === "class" || name === "accept") return this.label(name === "class" ? value : this.header.predicted);
    return false;
  }

  label(label) {
    const chosen = this.items.filter((i) => this.selected.has(i.visit));
    if (!chosen.length) { this.shell.refuse(this.t("select_first")); return true; }
    if (chosen.length < SPOT_FROM) { this.send(label, chosen, 0); return true; }
    const order = chosen.map((item) => [Math.random(), item]).sort((a, b) => a[0] - b[0]).map(([, item]) => item);
    this.spot = { label, checks: order.slice(0, Math.max(2, Math.ceil(chosen.length * SPOT_SHARE))), at: 0, seen: 0 };
    this.showSpot();
    return true;
  }

  showSpot() {
    const { label, checks, at } = this.spot, item = checks[at];
    this.shell.openStage(this.t("spot_question", { label, n: at + 1, all: checks.length }));
    const picture = this.pictures.ready(item.large);
    this.spotShown = picture ? performance.now() : null;
    this.shell.stage.show(picture, { message: this.t("loading_image"), label: this.t("spot_question", { label, n: at + 1, all: checks.length }) });
    if (picture) return;
    const again = () => { if (this.spot?.checks[this.spot.at] === item) this.showSpot(); };
    if (this.pictures.promise(item.large)) this.pictures.promise(item.large).then((p) => p && again());
    else { this.outbox.wanted.add(item.large); this.outbox.flush(); this.spotAgain = again; }
  }

  arrived() { if (this.spot && this.spotShown === null) this.spotAgain?.(); }

  spotAct(name, value, key) {
    if (key === "Escape") { this.endSpot(); return true; }
    if (!["accept", "class", "undo"].includes(name) && key !== "Backspace") return false;
    if (this.spotShown === null) { this.shell.stage.refuse(this.t("image_not_there")); return true; }
    if (performance.now() - this.spotShown < GUARD_MS) { this.shell.stage.refuse(this.t("too_fast")); return true; }
    const item = this.spot.checks[this.spot.at];
    const yes = name === "accept" || (name === "class" && value === this.spot.label);
    if (!yes) this.selected.delete(item.visit);
    this.spot.seen += 1;
    this.spot.at += 1;
    if (this.spot.at < this.spot.checks.length) { this.showSpot(); return true; }
    const { label, seen } = this.spot;
    this.endSpot();
    this.send(label, this.items.filter((i) => this.selected.has(i.visit)), seen);
    return true;
  }

  endSpot() { this.spot = null; this.shell.closeStage(); this.mark(); }

  send(label, chosen, spotChecked) {
    if (!chosen.length) return;
    const decision = { kind: "batch", request_id: freshId(), label, spot_checked: spotChecked, tasks: chosen.map((i) => ({ visit: i.visit, task_id: i.task_id })) };
    this.batches.push(decision.request_id);
    chosen.forEach((i) => { this.done.add(i.visit); this.selected.delete(i.visit); });
    this.items = this.items.filter((i) => !this.done.has(i.visit));
    this.focus = 0;
    this.shell.bar.showLast(this.t("saying", { label: `${label} × ${chosen.length}` }));
    this.draw();
    this.outbox.add(decision);
  }
}
