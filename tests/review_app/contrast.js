// The contrast of every text of the canvas against what lies behind it (WCAG 2, relative luminance).
() => {
  const find = (root) => { for (const n of root.querySelectorAll('*')) { if (n.matches('[data-test=canvas]')) return n;
    if (n.shadowRoot) { const i = find(n.shadowRoot); if (i) return i; } } return null; };
  const canvas = document.createElement('canvas'); canvas.width = canvas.height = 1;
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const over = (below, colour) => { context.fillStyle = `rgb(${below.join()})`; context.fillRect(0, 0, 1, 1);
    context.fillStyle = colour; context.fillRect(0, 0, 1, 1); return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3); };
  const behind = (node) => { const chain = [];
    for (let n = node; n; n = n.assignedSlot ?? n.parentElement ?? n.getRootNode().host) chain.unshift(getComputedStyle(n).backgroundColor);
    return chain.reduce(over, [255, 255, 255]); };
  const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ratios = {};
  for (const node of find(document).querySelectorAll('.class, .action:not(:disabled), .verdict, .why, .quiet, .saved, .count, .share-name, h3')) {
    if (!node.offsetParent) continue;
    const back = behind(node), front = over(back, getComputedStyle(node).color);
    const [a, b] = [light(front), light(back)].sort((x, y) => y - x);
    ratios[`${node.className || node.tagName} ${node.textContent.slice(0, 20)}`] = (a + 0.05) / (b + 0.05);
  }
  return ratios;
}
