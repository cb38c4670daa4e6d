// Small helpers to build the page. Nothing here parses HTML: text always becomes text nodes.

const SVG = 'http://www.w3.org/2000/svg';

/** Makes an element. `on*` keys are listeners, `data`/`aria` are attribute groups, the rest are properties. Lists among the children may be nested. */
export function h(tag, props = {}, ...children) {
  const el = document.createElement(tag);
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith('on')) el.addEventListener(key.slice(2), value);
    else if (key === 'class') el.className = value;
    else if (key === 'data') for (const [k, v] of Object.entries(value)) v !== undefined && (el.dataset[k] = v);
    else if (key === 'aria') for (const [k, v] of Object.entries(value)) el.setAttribute(`aria-${k}`, v);
    else if (key in el && key !== 'role') el[key] = value;
    else el.setAttribute(key, value === true ? '' : value);
  }
  el.append(...children.flat(Infinity).filter((c) => c !== undefined && c !== null && c !== false));
  return el;
}

/** An icon of the sprite in index.html. */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  return svg;
}

/** An element of SVG with its attributes and text. */
export function svg(tag, attributes = {}, text = '') {
  const el = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) el.setAttribute(key, value);
  if (text) el.textContent = text;
  return el;
}

/** Replaces the icon inside a button. */
export function setIcon(button, name) {
  button.querySelector('use')?.setAttribute('href', `#i-${name}`);
}

/** Sets text only when it differs, so that a steady display causes no work for the browser. */
export function setText(el, text) {
  if (el.textContent !== text) el.textContent = text;
}

/** What the node says of a call that failed: its code, then its sentence. */
export function failure(error) {
  return h('p', { class: 'failure', data: { testid: 'failure', code: String(error.code ?? 0) } }, icon('warn'), error.code ? h('b', { class: 'num' }, String(error.code)) : null, h('span', {}, error.message));
}

export const $ = (selector, root = document) => root.querySelector(selector);

/** 1234567 → "1.23 Mbit/s". Decimal units, three significant digits. */
export function bitRate(bitsPerSecond) {
  if (!Number.isFinite(bitsPerSecond)) return '–';
  if (bitsPerSecond >= 1e6) return `${(bitsPerSecond / 1e6).toFixed(bitsPerSecond >= 1e7 ? 1 : 2)} Mbit/s`;
  return `${Math.round(bitsPerSecond / 1e3)} kbit/s`;
}

/** 1536000 → "1.54 MB". Decimal units. */
export function byteCount(bytes) {
  if (!Number.isFinite(bytes)) return '–';
  for (const [unit, size] of [['GB', 1e9], ['MB', 1e6], ['kB', 1e3]]) {
    if (bytes >= size) return `${(bytes / size).toFixed(2)} ${unit}`;
  }
  return `${bytes} B`;
}

/** The name people use: "avc1.640028" and "H264 640028" → "H.264 640028", "mp4a.40.2" → "AAC". */
export function codecLabel(name) {
  if (!name) return undefined;
  const [, base, rest] = /^([A-Za-z0-9]+)[. ]?(.*)$/.exec(name) ?? [null, name, ''];
  const known = { avc1: 'H.264', avc3: 'H.264', h264: 'H.264', hvc1: 'H.265', hev1: 'H.265', h265: 'H.265', mp4a: 'AAC', pcma: 'G.711A', pcmu: 'G.711U', opus: 'Opus' }[base.toLowerCase()];
  if (!known) return name;
  return /^H\.264/.test(known) && rest ? `${known} ${rest}` : known;
}
