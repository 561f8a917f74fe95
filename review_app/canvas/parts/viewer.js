// Images to look at, nothing to decide (audit).

class Viewer {
  constructor(shell) {
    Object.assign(this, { shell, t: shell.t, pictures: shell.pictures, outbox: shell.outbox });
    this.at = 0;
    shell.decisions.node.hidden = true;
    shell.bar.node.hidden = true;
    shell.side.node.hidden = true;
  }

  update(header) {
    this.header = header;
    const image = header.images[Math.min(this.at, header.images.length - 1)];
    const picture = image ? this.pictures.ready(image.name) : null;
    const overlay = image?.overlay ? this.pictures.ready(image.overlay) : null;
    this.shell.stage.show(picture, { overlay, source: image?.source, label: this.t("image"),
      message: image?.missing ? this.t("image_missing") : this.t("loading_image") });
    const again = () => this.header === header && this.update(header);
    if (image && !picture && !image.missing) {
      if (this.pictures.promise(image.name)) this.pictures.promise(image.name).then((p) => p && again());
      else { this.outbox.wanted.add(image.name); this.outbox.flush(); }
    } else if (image?.overlay && !overlay) this.pictures.promise(image.overlay)?.then((p) => p && again());
  }

  shown() {}
  arrived() {}
  act() { return false; }
}
