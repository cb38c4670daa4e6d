// A band of time: what is recorded, where the player is, and what is marked for a download.
//
// It knows nothing of devices: it is given spans of Unix seconds and tells what was clicked. The wheel zooms, dragging moves,
// a click seeks, dragging with Shift marks a span. Keys, with the focus on it: ← → a step, + − zoom, Home End the first and
// last record.

import { h, svg } from './dom.js';
import { lang, onLang, t } from './i18n.js';

/** Steps of the scale in seconds. */
const STEPS = [1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 14400, 21600, 43200];
const TICK_PX_MIN = 70;
const SPAN_S_MIN = 30;
const DRAG_PX_MIN = 4;
const HEIGHT = 54;

export class Timeline {
  /** `hooks`: onSeek(unix seconds), onMark({from, to} or null). */
  constructor(hooks) {
    this.hooks = hooks;
    this.spans = [];
    this.cursor = null;
    this.mark = null;
    this.day(startOfDay(Date.now() / 1000), 86_400);
    this.el = h('div', { class: 'timeline', tabIndex: 0, role: 'slider', data: { testid: 'timeline' },
      onpointerdown: (e) => this.#grab(e), onpointermove: (e) => this.#hover(e), onpointerleave: () => { this.tip.hidden = true; }, onwheel: (e) => this.#wheel(e), onkeydown: (e) => this.#key(e) },
    this.drawing = svg('svg', { 'aria-hidden': 'true', preserveAspectRatio: 'none' }), this.tip = h('span', { class: 'tip num', hidden: true }));
    new ResizeObserver(() => this.draw()).observe(this.el);
    onLang(() => this.draw());
  }

  /** The span that is searched; the view starts with all of it. */
  day(from, length) {
    this.bounds = { from, to: from + length };
    this.from = from;
    this.to = from + length;
    if (this.el) this.draw();
  }

  /** `spans`: `{from, to, kind}` in order. */
  setSpans(spans) { this.spans = spans; this.draw(); }

  setCursor(at) {
    this.cursor = at;
    if (at !== null && (at < this.from || at > this.to)) {
      const span = this.to - this.from;
      this.#look(at - span / 4, span);
    } else this.draw();
  }

  setMark(mark) { this.mark = mark; this.hooks.onMark(mark); this.draw(); }

  // ---- moving about ----

  #look(from, span) {
    const whole = this.bounds.to - this.bounds.from;
    const length = Math.min(whole, Math.max(SPAN_S_MIN, span));
    this.from = Math.min(this.bounds.to - length, Math.max(this.bounds.from, from));
    this.to = this.from + length;
    this.draw();
  }

  #zoom(factor, around) {
    const span = (this.to - this.from) * factor;
    this.#look(around - ((around - this.from) / (this.to - this.from)) * span, span);
  }

  #timeAt(event) {
    const box = this.el.getBoundingClientRect();
    return this.from + ((event.clientX - box.left) / box.width) * (this.to - this.from);
  }

  #wheel(event) {
    event.preventDefault();
    this.#zoom(event.deltaY < 0 ? 0.7 : 1 / 0.7, this.#timeAt(event));
  }

  #grab(event) {
    if (event.button !== 0) return;
    const began = event.clientX;
    const at = this.#timeAt(event);
    const { from } = this;
    const marks = event.shiftKey;
    let dragged = false;
    this.el.setPointerCapture(event.pointerId);
    const move = (e) => {
      if (Math.abs(e.clientX - began) < DRAG_PX_MIN && !dragged) return;
      dragged = true;
      if (marks) {
        const other = this.#timeAt(e);
        this.mark = { from: Math.floor(Math.min(at, other)), to: Math.ceil(Math.max(at, other)) };
        this.draw();
      } else this.#look(from - ((e.clientX - began) / this.el.clientWidth) * (this.to - this.from), this.to - this.from);
    };
    const end = () => {
      this.el.removeEventListener('pointermove', move);
      this.el.removeEventListener('pointerup', end);
      this.el.removeEventListener('pointercancel', end);
      if (marks && dragged) this.hooks.onMark(this.mark);
      else if (!dragged) this.hooks.onSeek(Math.round(at));
    };
    this.el.addEventListener('pointermove', move);
    this.el.addEventListener('pointerup', end);
    this.el.addEventListener('pointercancel', end);
  }

  #hover(event) {
    const box = this.el.getBoundingClientRect();
    this.tip.hidden = false;
    this.tip.textContent = clock(this.#timeAt(event), true);
    this.tip.style.left = `${Math.min(box.width - 60, Math.max(0, event.clientX - box.left - 26))}px`;
  }

  #key(event) {
    const step = (this.to - this.from) / 20;
    const at = this.cursor ?? this.from;
    const first = this.spans[0]?.from;
    const last = this.spans.at(-1)?.from;
    const keys = { ArrowLeft: () => this.hooks.onSeek(Math.round(at - step)), ArrowRight: () => this.hooks.onSeek(Math.round(at + step)), '+': () => this.#zoom(0.5, at), '=': () => this.#zoom(0.5, at), '-': () => this.#zoom(2, at),
      Home: () => first !== undefined && this.hooks.onSeek(first), End: () => last !== undefined && this.hooks.onSeek(last), Escape: () => this.setMark(null) };
    const action = keys[event.key];
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  }

  // ---- display ----

  draw() {
    if (!this.drawing) return;
    const width = this.el.clientWidth || 1;
    const x = (at) => ((at - this.from) / (this.to - this.from)) * width;
    const bar = (from, to, attributes) => svg('rect', { x: x(from).toFixed(1), width: Math.max(1, x(to) - x(from)).toFixed(1), ...attributes });
    const out = [svg('rect', { class: 'band', x: 0, y: 22, width, height: 20 })];
    for (const s of this.spans) if (s.to >= this.from && s.from <= this.to) out.push(bar(s.from, s.to, { class: `record ${s.kind}`, y: 22, height: 20, 'data-testid': 'record' }));
    if (this.mark) out.push(bar(this.mark.from, this.mark.to, { class: 'mark', y: 18, height: 28 }));
    const px = width / (this.to - this.from);
    const step = STEPS.find((s) => s * px >= TICK_PX_MIN) ?? STEPS.at(-1);
    const zero = startOfDay(this.from);
    for (let at = zero + Math.ceil((this.from - zero) / step) * step; at <= this.to; at += step) {
      out.push(svg('line', { x1: x(at), x2: x(at), y1: 14, y2: HEIGHT }), svg('text', { x: x(at) + 4, y: 12 }, clock(at, step < 60)));
    }
    if (this.cursor !== null) out.push(svg('line', { class: 'cursor', x1: x(this.cursor), x2: x(this.cursor), y1: 8, y2: HEIGHT }));
    this.drawing.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`);
    this.drawing.replaceChildren(...out);
    this.el.setAttribute('aria-label', t('rec.timeline'));
    this.el.setAttribute('aria-valuemin', String(Math.round(this.bounds.from)));
    this.el.setAttribute('aria-valuemax', String(Math.round(this.bounds.to)));
    this.el.setAttribute('aria-valuenow', String(Math.round(this.cursor ?? this.from)));
    this.el.setAttribute('aria-valuetext', clock(this.cursor ?? this.from, true));
  }
}

/** Midnight before, in the reader's time zone. */
export function startOfDay(unixS) {
  const date = new Date(unixS * 1000);
  date.setHours(0, 0, 0, 0);
  return date.getTime() / 1000;
}

/** 08:30 or 08:30:15, in the reader's time zone. */
export function clock(unixS, seconds = false) {
  return new Date(unixS * 1000).toLocaleTimeString(lang() === 'zh' ? 'zh-CN' : 'en-GB', { hour: '2-digit', minute: '2-digit', ...(seconds && { second: '2-digit' }), hour12: false });
}
