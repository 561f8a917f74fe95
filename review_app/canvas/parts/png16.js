// 16-bit PNG decoded at its stored depth: a browser's own decoder would cut it down to 8 bits.

function pngDepth(bytes) {
  const signature = bytes.length > 28 && bytes[0] === 0x89 && bytes[1] === 0x50 && bytes[2] === 0x4e && bytes[3] === 0x47;
  return signature ? bytes[24] : 0;
}

// -> {width, height, channels, values: Uint16Array [height * width * channels]}; channels 1 (grey) or 3 (RGB).
async function decodePng16(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const width = view.getUint32(16), height = view.getUint32(20);
  const stored = { 0: 1, 2: 3, 4: 2, 6: 4 }[bytes[25]];
  if (!stored || bytes[28] !== 0) throw new Error("unsupported kind of 16-bit PNG");
  const chunks = [];
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    if (view.getUint32(at + 4) === 0x49444154) chunks.push(bytes.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  const stream = new Blob(chunks).stream().pipeThrough(new DecompressionStream("deflate"));
  const raw = new Uint8Array(await new Response(stream).arrayBuffer());
  const stride = width * stored * 2, step = stored * 2;
  unfilter(raw, height, stride, step);
  const channels = stored >= 3 ? 3 : 1;
  const values = new Uint16Array(width * height * channels);
  for (let y = 0, to = 0; y < height; y++) {
    let from = y * (stride + 1) + 1;
    for (let x = 0; x < width; x++, from += step)
      for (let c = 0; c < channels; c++) values[to++] = (raw[from + 2 * c] << 8) | raw[from + 2 * c + 1];
  }
  return { width, height, channels, values };
}

// PNG filters 0 to 4, undone in place (PNG specification, section 9).
function unfilter(raw, height, stride, step) {
  for (let y = 0; y < height; y++) {
    const row = y * (stride + 1) + 1, above = row - (stride + 1), filter = raw[row - 1];
    if (filter === 0) continue;
    for (let i = 0; i < stride; i++) {
      const left = i >= step ? raw[row + i - step] : 0;
      const up = y > 0 ? raw[above + i] : 0;
      if (filter === 1) raw[row + i] += left;
      else if (filter === 2) raw[row + i] += up;
      else if (filter === 3) raw[row + i] += (left + up) >> 1;
      else {
        const corner = y > 0 && i >= step ? raw[above + i - step] : 0;
        const guess = left + up - corner;
        const a = Math.abs(guess - left), b = Math.abs(guess - up), c = Math.abs(guess - corner);
        raw[row + i] += a <= b && a <= c ? left : b <= c ? up : corner;
      }
    }
  }
}
