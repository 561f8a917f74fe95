// The image and its tools: zoom to source pixels, pan, window and level, overlay, full screen.

class Stage {
  constructor(t, onShown) {
    this.t = t;
    this.onShown = onShown;
    this.picture = null;
    this.overlay = null;
    this.overlayOn = false; // the image is seen as it is first
    this.standard = null; // the profile's window for 16-bit pictures
    this.source = null; // size of the file that the display copy was made of
    this.canvas = element("canvas", { class: "stage-canvas", role: "img", tabindex: "-1" });
    this.readout = element("span", { class: "readout", "aria-hidden": "true" });
    this.flash = element("div", { class: "flash", role: "alert", hidden: true });
    this.veil = element("div", { class: "veil" });
    this.overlayButton = this.tool("overlay", "O", () => this.toggleOverlay());
    this.tools = element("div", { class: "tools", role: "toolbar" },
      this.tool("zoom_out", "-", () => this.zoomBy(1 / 1.4)),
      this.tool("fit", "R", () => this.reset()),
      this.tool("source_pixels", "P", () => this.sourcePixels(), "1:1"),
      this.tool("zoom_in", "+", () => this.zoomBy(1.4)),
      element("span", { class: "gap" }),
      this.tool("contrast_less", "[", () => this.contrast(1.15)),
      this.tool("contrast_more", "]", () => this.contrast(1 / 1.15)),
      this.tool("darker", ",", () => this.level(0.05)),
      this.tool("brighter", ".", () => this.level(-0.05)),
      element("span", { class: "gap" }),
      this.overlayButton,
      this.tool("full_screen", "F", () => this.fullScreen()));
    this.node = element("div", { class: "stage" }, this.canvas, this.veil, this.flash, this.tools, this.readout);
    this.listen();
    this.observer = new ResizeObserver(() => this.resized());
    this.observer.observe(this.node);
  }

  tool(name, key, act, sign) {
    const label = this.t(`tool_${name}`);
    return element("button", { type: "button", class: "tool", title: `${label} (${key})`, "aria-label": label, "data-tool": name,
      onclick: (e) => { act(); e.currentTarget.blur(); } }, sign ?? icon(name));
  }

  listen() {
    const c = this.canvas;
    c.addEventListener("wheel", (e) => { e.preventDefault(); this.zoomBy(Math.exp(-e.deltaY / 400), this.at(e)); }, { passive: false });
    let from = null;
    c.addEventListener("pointerdown", (e) => {
      from = { x: e.clientX, y: e.clientY, level: e.button === 2 || e.ctrlKey };
      try { c.setPointerCapture(e.pointerId); } catch { /* a synthetic pointer cannot be captured */ }
    });
    c.addEventListener("pointermove", (e) => {
      this.pointer = this.at(e);
      if (from) {
        const dx = e.clientX - from.x, dy = e.clientY - from.y;
        if (from.level) this.dragWindow(dx, dy);
        else { this.view.x += dx; this.view.y += dy; }
        from.x = e.clientX; from.y = e.clientY;
        this.draw();
      }
      this.showReadout();
    });
    c.addEventListener("pointerup", () => { from = null; });
    c.addEventListener("pointerleave", () => { this.pointer = null; this.showReadout(); });
    c.addEventListener("contextmenu", (e) => e.preventDefault());
    c.addEventListener("dblclick", () => (this.view.scale > this.fitScale() * 1.01 ? this.reset() : this.sourcePixels()));
  }

  at(e) { const box = this.canvas.getBoundingClientRect(); return { x: e.clientX - box.left, y: e.clientY - box.top }; }

  // Shows a picture from now on; what is not there yet is a named emptiness, never the picture before.
  show(picture, { overlay = null, source = null, label = "", started = null, message = "" } = {}) {
    this.picture = picture;
    this.overlay = overlay;
    this.source = source;
    this.overlayButton.disabled = !overlay;
    this.rendered = null;
    this.canvas.setAttribute("aria-label", label);
    this.veil.textContent = picture ? "" : message;
    this.veil.hidden = Boolean(picture);
    if (picture) {
      this.window = this.startWindow(picture);
      this.resized(true);
      const started_at = started;
      requestAnimationFrame(() => { if (this.picture === picture) this.onShown(started_at); });
    } else this.draw();
  }

  setOverlay(overlay) { this.overlay = overlay; this.overlayButton.disabled = !overlay; this.draw(); }

  startWindow(picture) {
    if (!picture.values) return { centre: 127.5, width: 255 };
    return this.standard ? { ...this.standard } : { ...spread(picture) };
  }

  resized(reset = false) {
    const ratio = window.devicePixelRatio || 1, box = this.node.getBoundingClientRect();
    if (!box.width) return;
    const wide = Math.round(box.width * ratio), high = Math.round(box.height * ratio);
    const changed = this.canvas.width !== wide || this.canvas.height !== high;
    if (changed) { this.canvas.width = wide; this.canvas.height = high; }
    this.box = box;
    if (reset || (changed && !this.touched)) this.reset(); else this.draw();
  }

  fitScale() {
    if (!this.picture || !this.box) return 1;
    return Math.min(this.box.width / this.picture.width, this.box.height / this.picture.height);
  }

  reset() {
    if (!this.picture) return;
    const scale = this.fitScale();
    this.view = { scale, x: (this.box.width - this.picture.width * scale) / 2, y: (this.box.height - this.picture.height * scale) / 2 };
    this.window = this.startWindow(this.picture);
    this.rendered = null;
    this.touched = false;
    this.draw();
  }

  zoomBy(factor, centre) {
    if (!this.picture) return;
    const at = centre || this.pointer || { x: this.box.width / 2, y: this.box.height / 2 };
    const least = Math.min(this.fitScale() / 2, 1 / (window.devicePixelRatio || 1)); // source pixels are within reach of a small picture
    const scale = Math.min(Math.max(this.view.scale * factor, least), 40);
    const ratio = scale / this.view.scale;
    this.view = { scale, x: at.x - (at.x - this.view.x) * ratio, y: at.y - (at.y - this.view.y) * ratio };
    this.touched = true;
    this.draw();
  }

  // One picture pixel on one screen pixel.
  sourcePixels() { if (this.picture) this.zoomBy(1 / (window.devicePixelRatio || 1) / this.view.scale); }
  pan(dx, dy) { if (this.picture) { this.view.x += dx; this.view.y += dy; this.touched = true; this.draw(); } }

  contrast(factor) {
    if (!this.picture) return;
    this.window.width = Math.min(Math.max(this.window.width * factor, 2), 2 * fullRange(this.picture));
    this.rewindow();
  }

  level(share) { if (this.picture) { this.window.centre += share * this.window.width; this.rewindow(); } }

  dragWindow(dx, dy) {
    this.window.width = Math.min(Math.max(this.window.width * Math.exp(dx / 200), 2), 2 * fullRange(this.picture));
    this.window.centre -= (dy / 300) * this.window.width;
    this.rewindow();
  }

  rewindow() { this.rendered = null; this.draw(); }
  toggleOverlay() { this.overlayOn = !this.overlayOn; this.draw(); }

  fullScreen() {
    const host = this.node.closest(".tailsight");
    if (document.fullscreenElement) document.exitFullscreen(); else host?.requestFullscreen?.();
  }

  draw() {
    const context = this.canvas.getContext("2d"), ratio = window.devicePixelRatio || 1;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (!this.picture || !this.view) return;
    const { scale, x, y } = this.view;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.imageSmoothingEnabled = scale * ratio < 1.5;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.shown(), x, y, this.picture.width * scale, this.picture.height * scale);
    const heat = Boolean(this.overlay) && this.overlayOn;
    if (heat) {
      context.globalAlpha = 0.8;
      context.imageSmoothingEnabled = true;
      context.drawImage(this.overlay.bitmap, x, y, this.picture.width * scale, this.picture.height * scale);
      context.globalAlpha = 1;
    }
    this.overlayButton.setAttribute("aria-pressed", String(heat));
    this.showReadout();
  }

  shown() {
    if (isPlain(this.picture, this.window)) return this.picture.bitmap;
    if (!this.rendered) {
      this.rendered = new OffscreenCanvas(this.picture.width, this.picture.height);
      this.rendered.getContext("2d").putImageData(windowed(this.picture, this.window), 0, 0);
    }
    return this.rendered;
  }

  showReadout() {
    if (!this.picture || !this.view) { this.readout.textContent = ""; return; }
    const reduced = this.source && this.source.width > this.picture.width;
    const parts = [`${Math.round(this.view.scale * (window.devicePixelRatio || 1) * 100)} %`];
    if (reduced) parts.push(this.t("display_copy", { share: Math.round((100 * this.picture.width) / this.source.width) }));
    if (this.picture.values || !isPlain(this.picture, this.window))
      parts.push(`${this.t("window")} ${Math.round(this.window.centre)} / ${Math.round(this.window.width)}`);
    if (this.picture.values) parts.push("16 bit");
    if (this.pointer) {
      const px = Math.floor((this.pointer.x - this.view.x) / this.view.scale), py = Math.floor((this.pointer.y - this.view.y) / this.view.scale);
      const value = valueAt(this.picture, px, py);
      if (value) parts.push(`(${px}, ${py}) = ${value}`);
    }
    this.readout.textContent = parts.join("  ·  ");
  }

  // What was refused and why, over the image, where the eyes are.
  refuse(text) {
    this.flash.textContent = text;
    this.flash.hidden = false;
    this.node.classList.remove("refused");
    void this.node.offsetWidth; // restarts the animation
    this.node.classList.add("refused");
    clearTimeout(this.flashTimer);
    this.flashTimer = setTimeout(() => { this.flash.hidden = true; this.node.classList.remove("refused"); }, 2200);
  }
}
