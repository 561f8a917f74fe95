// Pictures that this tab holds, by name, decoded ahead of time. They live in memory only and leave with the tab.

const MOST_PICTURES = 160;

class Pictures {
  constructor() {
    this.held = new Map(); // name -> {picture, promise}
    this.protect = new Set();
  }

  add(name, mime, bytes) {
    if (this.held.has(name)) return;
    const entry = { picture: null, broken: false, promise: null };
    entry.promise = decodePicture(mime, bytes).then(
      (picture) => { entry.picture = picture; return picture; },
      () => { entry.broken = true; return null; },
    );
    this.held.set(name, entry);
    for (const old of this.held.keys()) {
      if (this.held.size <= MOST_PICTURES) break;
      if (this.protect.has(old)) continue;
      this.held.get(old).picture?.bitmap?.close?.();
      this.held.delete(old);
    }
  }

  ready(name) { return this.held.get(name)?.picture ?? null; }
  broken(name) { return this.held.get(name)?.broken ?? false; }
  promise(name) { return this.held.get(name)?.promise ?? null; }
  names() { return [...this.held.keys()]; }
  forget() { for (const entry of this.held.values()) entry.picture?.bitmap?.close?.(); this.held.clear(); }
}

// -> {width, height, bitmap} for 8 bits; {width, height, channels, values} for 16 bits.
async function decodePicture(mime, bytes) {
  const own = bytes.slice(); // the message's buffer would otherwise be kept alive by every picture in it
  if (mime === "image/png" && pngDepth(own) === 16) return decodePng16(own);
  const bitmap = await createImageBitmap(new Blob([own], { type: mime }), { imageOrientation: "none" });
  return { width: bitmap.width, height: bitmap.height, bitmap };
}

// A message is: header length (uint32, little endian), header (JSON), then the pictures one after another.
function readFrame(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  const body = bytes.subarray(4 + length);
  header.pictures = header.blobs.map((b) => ({ ...b, bytes: body.subarray(b.offset, b.offset + b.length) }));
  return header;
}

function drawThumb(canvas, picture) {
  canvas.width = picture.width;
  canvas.height = picture.height;
  const context = canvas.getContext("2d");
  if (picture.bitmap) context.drawImage(picture.bitmap, 0, 0);
  else context.putImageData(windowed(picture, spread(picture)), 0, 0);
}
