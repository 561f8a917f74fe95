// Window and level: which stored values become black and white. Works on the stored depth, 8 or 16 bits.

function fullRange(picture) { return picture.values ? 65535 : 255; }

// The window that shows what a 16-bit picture holds: from its 0.5th to its 99.5th percentile (of every 7th value).
function spread(picture) {
  if (!picture.values) return { centre: 127.5, width: 255 };
  if (picture.spread) return picture.spread;
  const counts = new Uint32Array(4096);
  let total = 0;
  for (let i = 0; i < picture.values.length; i += 7, total++) counts[picture.values[i] >> 4]++;
  let low = 0, high = 4095;
  for (let sum = 0; low < 4095 && (sum += counts[low]) < total * 0.005; low++);
  for (let sum = 0; high > 0 && (sum += counts[high]) < total * 0.005; high--);
  const from = low << 4, to = (high << 4) + 15;
  picture.spread = { centre: (from + to) / 2, width: Math.max(to - from, 16) };
  return picture.spread;
}

function isPlain(picture, window) {
  return !picture.values && window.centre === 127.5 && window.width === 255;
}

// ImageData of a picture through a window.
function windowed(picture, window) {
  const range = fullRange(picture);
  const table = new Uint8ClampedArray(range + 1);
  const from = window.centre - window.width / 2, scale = 255 / Math.max(window.width, 1);
  for (let value = 0; value <= range; value++) table[value] = (value - from) * scale;
  const image = new ImageData(picture.width, picture.height);
  const out = new Uint32Array(image.data.buffer), opaque = 0xff000000;
  if (picture.values) {
    const { values, channels } = picture;
    if (channels === 1) for (let i = 0; i < out.length; i++) out[i] = opaque | (table[values[i]] * 0x010101);
    else
      for (let i = 0, j = 0; i < out.length; i++, j += 3)
        out[i] = opaque | (table[values[j + 2]] << 16) | (table[values[j + 1]] << 8) | table[values[j]];
  } else {
    const source = pixelsOf(picture);
    for (let i = 0, j = 0; i < out.length; i++, j += 4)
      out[i] = opaque | (table[source[j + 2]] << 16) | (table[source[j + 1]] << 8) | table[source[j]];
  }
  return image;
}

function pixelsOf(picture) {
  if (!picture.pixels) {
    const canvas = new OffscreenCanvas(picture.width, picture.height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(picture.bitmap, 0, 0);
    picture.pixels = context.getImageData(0, 0, picture.width, picture.height).data;
  }
  return picture.pixels;
}

// The stored value under a pixel, as text: one number for grey, three for colour.
function valueAt(picture, x, y) {
  if (x < 0 || y < 0 || x >= picture.width || y >= picture.height) return "";
  const at = y * picture.width + x;
  if (picture.values) return Array.from(picture.values.subarray(at * picture.channels, (at + 1) * picture.channels)).join(" ");
  const [r, g, b] = pixelsOf(picture).subarray(4 * at, 4 * at + 3);
  return r === g && g === b ? String(r) : `${r} ${g} ${b}`;
}
