// Holds the parts together for one mounted component, and turns keys into what they mean.

const PAN_PX = 60;
const pictures = new Pictures(); // of this tab: coming back to a screen needs no picture twice

class Shell {
  constructor(root, header, send) {
    this.root = root;
    this.pictures = pictures;
    this.t = makeTexts(header.texts);
    this.language = header.language;
    this.who = header.who;
    this.mode = header.mode;
    this.desk = header.desk;
    this.outbox = new Outbox(header.desk, header.who, () => this.status());
    this.keymap = new KeyMap(header.classes, header.who);
    this.stage = new Stage(this.t, (started) => this.view.shown?.(started));
    this.strip = element("div", { class: "strip", role: "group", "aria-label": this.t("images"), hidden: true });
    this.side = new Side(this.t, pictures);
    const act = (name, value, at) => { this.decide(name, value, at, null); };
    this.decisions = new Decisions(this.t, this.keymap, header.classes, act);
    this.sheet = new CheatSheet(this.t, this.keymap, header.classes,
      () => this.decisions.setClasses(this.sheet.classes)); // as they are now: a class may have been added since
    this.bar = new Bar(this.t, this.language, () => this.sheet.toggle());
    this.banner = element("div", { class: "banner", hidden: true });
    this.classNames = header.classes.map((c) => c.name).join("\n");
    this.view = header.mode === "grid" ? new Grid(this) : header.mode === "viewer" ? new Viewer(this) : new Review(this);
    const main = element("div", { class: "main" }, this.banner, this.stage.node, this.strip);
    this.node = element("div", { class: `tailsight ${header.mode}`, lang: header.language, "data-test": "canvas" },
      this.bar.node, header.mode === "grid" ? this.view.node : null, main, this.side.node, this.decisions.node, this.sheet.node);
    this.main = main;
    if (header.mode === "grid") main.hidden = true;
    root.append(this.node);
    this.keys = new Keys((key, press) => this.pressed(key, press));
    this.place = () => this.node.style.setProperty("--top", `${Math.round(this.node.getBoundingClientRect().top + window.scrollY)}px`);
    window.addEventListener("resize", this.place);
    requestAnimationFrame(this.place);
    this.ticker = setInterval(() => this.status(), 1000);
    this.connect(send);
    if (header.mode !== "viewer") { document.activeElement?.blur?.(); }
  }

  connect(send) {
    this.outbox.send = (message) => send({ ...message, desk: this.desk, have: this.pictures.names() });
  }

  update(header) {
    this.stage.standard = header.window;
    for (const p of header.pictures) { this.pictures.add(p.name, p.mime, p.bytes); this.outbox.wanted.delete(p.name); }
    for (const name of header.unavailable) this.outbox.wanted.delete(name);
    const settled = this.outbox.settle(header.answers);
    const classNames = header.classes.map((c) => c.name).join("\n");
    if (classNames !== this.classNames) { // a class was added while we worked: every key stays where it is
      this.classNames = classNames;
      this.keymap = new KeyMap(header.classes, this.who);
      Object.assign(this.sheet, { classes: header.classes, keymap: this.keymap });
      this.decisions.keymap = this.keymap;
      this.decisions.setClasses(header.classes);
    }
    this.view.update(header, settled);
    this.view.arrived?.();
    if (this.outbox.restored || this.outbox.waiting.length) { this.outbox.restored = false; queueMicrotask(() => this.outbox.flush()); }
  }

  status() {
    this.place();
    const waiting = this.outbox.waiting.filter((d) => d.kind !== "next").length;
    this.bar.showSaved(waiting, this.outbox.late());
    if (this.mode !== "viewer" && this.view.header && !this.view.header.queue.length && Date.now() - (this.asked ?? 0) > 8000) {
      this.asked = Date.now(); // an empty queue is asked again: somebody's round may be ready
      this.outbox.flush();
    }
  }

  pressed(key, press) {
    if (!this.node.isConnected) return false;
    if (this.sheet.open) { if (!press.held) this.sheet.take(key); return true; }
    if (this.decisions.badOpen) {
      if (press.held) return true;
      if (key === "Escape") this.decisions.closeBad(); else if (/^[1-9]$/.test(key)) this.decisions.chooseBad(Number(key) - 1);
      return true;
    }
    const cls = this.mode === "viewer" ? null : this.keymap.classOf(key);
    const name = cls ? "class" : ACTION_KEYS[key];
    if (this.mode === "grid" && press.held && !key.startsWith("Arrow")) return true;
    if (this.mode === "grid" && this.view.act(null, null, press.at, key)) return true;
    if (!name) return false;
    if (press.held && !MAY_REPEAT.has(name)) return true; // a held key says one thing once
    return this.decide(name, cls, press.at, key);
  }

  decide(name, value, at, key) {
    const tools = { overlay: () => this.stage.toggleOverlay(), full_screen: () => this.stage.fullScreen(), fit: () => this.stage.reset(),
      source_pixels: () => this.stage.sourcePixels(), zoom_in: () => this.stage.zoomBy(1.25), zoom_out: () => this.stage.zoomBy(0.8),
      contrast_less: () => this.stage.contrast(1.1), contrast_more: () => this.stage.contrast(1 / 1.1),
      pan_left: () => this.stage.pan(PAN_PX, 0), pan_right: () => this.stage.pan(-PAN_PX, 0), // the view moves, not the image
      pan_up: () => this.stage.pan(0, PAN_PX), pan_down: () => this.stage.pan(0, -PAN_PX),
      darker: () => this.stage.level(0.04), brighter: () => this.stage.level(-0.04) };
    if (name === "help") { this.sheet.toggle(); return true; }
    if (name in tools) { tools[name](); return true; }
    if (name === "note" && !this.side.node.hidden) { this.side.note.focus(); return true; }
    if (name === "certainty" && !this.side.node.hidden) { this.side.nextCertainty(); return true; }
    return this.view.act(name, value, at, key);
  }

  refuse(text) { this.bar.showLast(text); }

  openStage(text) {
    this.view.node.hidden = true;
    this.main.hidden = false;
    this.banner.hidden = false;
    this.banner.textContent = text;
    this.stage.resized(true);
  }

  closeStage() { this.view.node.hidden = false; this.main.hidden = true; this.banner.hidden = true; }

  // What the browser's own tools (and our test) can measure: from the key to the next image on the screen.
  markShown(visit, started) {
    this.node.dataset.visit = visit;
    if (started === null || started === undefined) return;
    const channel = new MessageChannel();
    channel.port1.onmessage = () => performance.measure("tailsight-next-image", { start: started, end: performance.now() });
    channel.port2.postMessage(null); // after this frame has been painted
  }

  close() {
    this.keys.close();
    this.outbox.close();
    this.stage.observer.disconnect();
    clearInterval(this.ticker);
    window.removeEventListener("resize", this.place);
    this.node.remove();
  }
}
