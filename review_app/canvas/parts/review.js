// One image after another. What is on the screen decides what a key means; the server's answer never changes that.

class Review {
  constructor(shell) {
    Object.assign(this, { shell, t: shell.t, pictures: shell.pictures, outbox: shell.outbox });
    this.queue = [];
    this.decided = new Set();
    this.locked = new Map(); // visit -> answer, where the model is shown after the decision
    this.trail = []; // what was decided here, oldest first
    this.backAt = null; // index into the trail while looking back
    this.undoing = null;
    this.current = null;
    this.imageIndex = 0;
    this.shownAt = null;
    this.awaitedSince = null; // when the key went down after which no next image was there yet
    for (const d of this.outbox.waiting) if (d.visit) this.decided.add(d.visit);
  }

  // A new message from the server.
  update(header, settled) {
    this.header = header;
    for (const [decision, answer] of settled) this.answered(decision, answer);
    this.queue = header.queue;
    const fresh = this.current && (header.queue.find((i) => i.visit === this.current.visit)
      ?? header.queue.find((i) => i.task_id === this.current.task_id && !i.undone)); // a restarted server knows the task by a new visit
    if (!fresh || this.isDone(fresh)) this.advanceTo();
    else {
      this.current = fresh;
      const first = header.queue.find((i) => !this.isDone(i));
      if (first && first.visit !== fresh.visit && first.undone) this.advance(null);
      else if (!this.stageShown) this.showImage(null);
      else this.refreshSide();
    }
    this.refreshStatus();
  }

  // Decided here, or decided before the page was loaded again and still on its way.
  isDone(item) {
    if (this.locked.has(item.visit)) return false;
    return this.decided.has(item.visit) || this.outbox.waiting.some((d) => d.kind === "answer" && d.task_id === item.task_id && d.visit !== item.visit);
  }

  // While looking back only the image that comes after it changes; otherwise the screen moves on.
  advanceTo() {
    if (this.backAt === null) this.advance(null);
    else this.current = this.queue.find((i) => !this.isDone(i)) ?? null;
  }

  answered(decision, answer) {
    const entry = this.trail.find((e) => e.request_id === decision.request_id || e.revised_by === decision.request_id);
    if (decision.kind === "undo") this.undoing = null;
    if (!answer.ok) {
      this.decided.delete(decision.visit);
      if (entry && entry.request_id === decision.request_id) this.trail.splice(this.trail.indexOf(entry), 1);
      this.locked.delete(decision.visit);
      this.shell.stage.refuse(answer.what);
      this.shell.bar.showLast(answer.what);
      return;
    }
    if (entry) { entry.saved = true; entry.label = answer.label ?? entry.label; }
    if (decision.kind === "undo") {
      const at = this.trail.findIndex((e) => e.item.visit === answer.visit);
      if (at >= 0) this.trail.splice(at, 1);
      this.backAt = null;
      this.current = null;
      this.shell.bar.showLast(this.t("undone"));
    } else if (decision.kind === "answer" && answer.locked && this.locked.has(decision.visit)) {
      this.locked.set(decision.visit, { ...this.locked.get(decision.visit), reveal: answer.reveal, saved: true });
      this.shell.bar.showLast(this.t("saved_as", { label: entry?.text ?? "" }));
    } else if (decision.kind !== "next") {
      this.locked.delete(decision.visit); // nothing to change: the screen goes on
      const model = answer.reveal?.prediction ? this.t("model_said", { label: answer.reveal.prediction.label }) : "";
      this.shell.bar.showLast([this.t("saved_as", { label: entry?.text ?? "" }), model].filter(Boolean).join(" · "));
    }
  }

  // The first image that is not decided; started: when the key went down that brought us here.
  advance(started) {
    this.backAt = null;
    this.current = this.queue.find((i) => !this.isDone(i)) ?? null;
    const since = started ?? this.awaitedSince; // a key went down and nothing lay ready: the wait counts from there
    this.awaitedSince = this.current ? null : since;
    this.imageIndex = 0;
    this.shell.side.clearWords();
    this.shell.decisions.closeBad();
    this.showImage(since);
  }

  item() { return this.backAt === null ? this.current : this.trail[this.backAt].item; }

  showImage(started) {
    const { stage, bar, side } = this.shell, item = this.item();
    this.shownAt = null;
    bar.showItem(item);
    this.pictures.protect = new Set([...this.queue, ...this.trail.slice(-8).map((e) => e.item)].flatMap((i) => i.images.map((m) => m.name)));
    if (!item) {
      this.stageShown = true;
      stage.show(null, { message: this.queue.length ? this.t("loading_next") : this.t("queue_empty") });
    } else {
      const image = item.images[Math.min(this.imageIndex, item.images.length - 1)];
      const picture = image ? this.pictures.ready(image.name) : null;
      const overlay = image?.overlay ? this.pictures.ready(image.overlay) : null;
      this.stageShown = Boolean(picture);
      stage.show(picture, { overlay, source: image?.source, started, label: this.t("image_of", { n: this.imageIndex + 1, all: item.images.length }),
        message: image && this.pictures.broken(image.name) ? this.t("image_broken") : item.missing ? this.t("image_missing") : this.t("loading_image") });
      if (!picture && image) this.waitFor(image.name, started);
      if (image?.overlay && !overlay) this.pictures.promise(image.overlay)?.then((o) => { if (o && this.item() === item) stage.setOverlay(o); });
    }
    this.strip(item);
    this.refreshSide();
    this.refreshStatus();
  }

  waitFor(name, started) {
    const promise = this.pictures.promise(name);
    if (promise) promise.then(() => { if (this.item()?.images.some((i) => i.name === name) && !this.stageShown) this.showImage(started); });
    else if (!this.item().missing) { this.outbox.wanted.add(name); clearTimeout(this.wanting); this.wanting = setTimeout(() => this.outbox.flush(), 60); }
  }

  strip(item) {
    const many = item && item.images.length > 1;
    this.shell.strip.hidden = !many;
    if (!many) return;
    this.shell.strip.replaceChildren(...item.images.map((image, i) => element("button", { type: "button", class: "strip-item",
      "aria-pressed": String(i === this.imageIndex), onclick: (e) => { e.currentTarget.blur(); this.imageIndex = i; this.showImage(null); } },
      this.shell.side.thumb(image.name, String(i + 1)), element("span", {}, i + 1))));
  }

  refreshSide() {
    const item = this.item(), entry = this.backAt === null ? null : this.trail[this.backAt];
    const lock = item ? this.locked.get(item.visit) : null;
    const reveal = lock?.reveal ?? entry?.reveal ?? null;
    this.shell.side.show(item, this.header.classes, { reveal, answer: entry?.text ?? lock?.text ?? null });
    const predicted = (reveal ?? item)?.prediction?.label ?? null;
    this.shell.decisions.mark(predicted, entry?.label ?? lock?.label ?? null);
    if (lock?.reveal?.overlay && this.backAt === null) {
      this.pictures.promise(lock.reveal.overlay)?.then((o) => { if (o && this.item() === item) this.shell.stage.setOverlay(o); });
    }
    this.shell.decisions.setActions(item?.mode === "dispute" ? ["return_to_readers", "bad_image", "skip", "back", "undo"]
      : lock ? ["keep", "back", "undo"] : ["accept", "unsure", "bad_image", "skip", "back", "undo"]);
    this.shell.decisions.enable("accept", Boolean(item?.prediction));
    this.shell.decisions.enable("back", this.backAt === null ? this.trail.length > 0 : this.backAt > 0);
    this.shell.decisions.enable("undo", this.trail.length > 0 || this.header.can_undo);
  }

  refreshStatus() {
    const waiting = this.outbox.waiting.filter((d) => d.kind !== "next").length;
    this.shell.bar.showSaved(waiting, this.outbox.late());
    const { done, waiting: left } = this.header.progress;
    const ahead = this.outbox.waiting.filter((d) => d.kind === "answer").length;
    this.shell.bar.progress({ done: done + ahead, waiting: Math.max(left - ahead, 0) });
  }

  shown(started) {
    this.shownAt = performance.now();
    this.shell.markShown(this.item()?.visit ?? "", started);
  }

  // Why a press must not count now, or null.
  refusal(at) {
    if (!this.item()) return "nothing_to_decide";
    if (this.undoing) return "undo_under_way";
    if (this.shownAt === null && !this.item().missing && !this.pictures.broken(this.item().images[0]?.name)) return "image_not_there";
    if (at - this.shownAt < GUARD_MS) return "too_fast";
    const lock = this.locked.get(this.item().visit);
    if (lock && !lock.reveal) return "locking";
    return null;
  }

  act(name, value, at) {
    const { stage, decisions, side } = this.shell;
    if (name === "back") return this.goBack(-1);
    if (name === "forward") return this.goBack(1);
    if (name === "image_before" || name === "image_after") return this.otherImage(name === "image_after" ? 1 : -1);
    if (name === "undo") return this.undo();
    const why = this.refusal(at);
    if (why) { stage.refuse(this.t(why)); return true; }
    const item = this.item(), dispute = item.mode === "dispute";
    if (name === "bad_image") { decisions.openBad(); return true; }
    if (name === "class") return this.say(item, "label", value, value, at);
    if (name === "bad") return this.say(item, "bad_image", null, this.t("action_bad_image"), at, value);
    if (name === "skip") return this.say(item, "skip", null, this.t("action_skip"), at);
    if (name === "unsure" && !dispute) return this.say(item, "unsure", null, this.t("action_unsure"), at);
    if (name === "return_to_readers" && dispute) return this.say(item, "return", null, this.t("action_return_to_readers"), at);
    if (name === "accept") {
      if (this.backAt !== null) return this.goBack(this.trail.length);
      if (this.locked.has(item.visit)) return this.keep(item, at);
      if (!item.prediction) { stage.refuse(this.t(item.blind ? "nothing_to_accept_blind" : "nothing_to_accept")); return true; }
      return this.say(item, "confirm", item.prediction.label, item.prediction.label, at);
    }
    return false;
  }

  say(item, action, label, text, at, note = null) {
    const words = this.shell.side.words(), lock = this.locked.get(item.visit), back = this.backAt !== null ? this.trail[this.backAt] : null;
    if (back && !back.saved) { this.shell.stage.refuse(this.t("locking")); return true; }
    const decision = { kind: back ? "revise" : lock ? "second" : "answer", request_id: freshId(), visit: item.visit, task_id: item.task_id, action, label,
      note: note ?? words.note, certainty: words.certainty, seconds: this.shownAt ? Math.round(at - this.shownAt) / 1000 : null };
    if (back) { Object.assign(back, { text, label, revised_by: decision.request_id, saved: false }); this.backAt = null; }
    else if (lock) { this.locked.delete(item.visit); const e = this.trail.find((x) => x.item.visit === item.visit); if (e) Object.assign(e, { text, label, reveal: lock.reveal, revised_by: decision.request_id }); }
    else {
      this.trail.push({ item, request_id: decision.request_id, text, label, saved: false });
      if (this.trail.length > 30) this.trail.shift();
      if (this.header.read_first && item.mode !== "dispute" && (action === "label" || action === "bad_image")) this.locked.set(item.visit, { text, label, reveal: null });
    }
    this.decided.add(item.visit);
    this.shell.bar.showLast(this.t("saying", { label: text }));
    if (this.locked.has(item.visit)) { this.refreshSide(); } else this.advance(at);
    this.outbox.add(decision);
    return true;
  }

  // The first answer stands after the model was shown.
  keep(item, at) {
    const lock = this.locked.get(item.visit), entry = this.trail.find((e) => e.item.visit === item.visit);
    if (entry) entry.reveal = lock.reveal;
    this.locked.delete(item.visit);
    this.advance(at);
    this.outbox.add({ kind: "next", request_id: freshId(), visit: item.visit, task_id: item.task_id });
    return true;
  }

  undo() {
    if (this.undoing) { this.shell.stage.refuse(this.t("undo_under_way")); return true; }
    const target = this.backAt === null ? null : this.trail[this.backAt].item.visit;
    this.undoing = freshId();
    this.shell.bar.showLast(this.t("undo_under_way"));
    for (const visit of [...this.locked.keys()]) this.locked.delete(visit);
    this.outbox.add({ kind: "undo", request_id: this.undoing, of_visit: target });
    return true;
  }

  goBack(step) {
    if (!this.trail.length) { this.shell.stage.refuse(this.t("nothing_before")); return true; }
    const at = (this.backAt === null ? this.trail.length : this.backAt) + step;
    if (at < 0) { this.shell.stage.refuse(this.t("nothing_before")); return true; }
    this.backAt = at >= this.trail.length ? null : at;
    this.imageIndex = 0;
    this.showImage(null);
    if (this.backAt !== null) this.shell.bar.showLast(this.t("looking_back", { label: this.trail[this.backAt].text }));
    return true;
  }

  otherImage(step) {
    const item = this.item();
    if (!item || item.images.length < 2) return false;
    this.imageIndex = (this.imageIndex + step + item.images.length) % item.images.length;
    this.showImage(null);
    return true;
  }
}
