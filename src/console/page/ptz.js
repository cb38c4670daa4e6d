// Turning a camera: eight directions, zoom, focus and iris while a key or button is held, presets and cruises.
//
// Whatever is begun is ended: when the button is let go, the pointer is lost, the panel closes or the window loses the
// focus. Begin and end of one movement go to the node one after the other, so that none overtakes the other.

import { call, gantry } from './api.js';
import { failure, h, icon } from './dom.js';
import { onLang, t } from './i18n.js';
import { home, precise, scanning, stopMarking, tracking } from './ptz-more.js';

const SPEED_KEY = 'gantry.ptz.speed';
/** The pad, row by row: the operation, its icon, the arrow key that does the same. */
const PAD = [
  ['lefttop', '↖'], ['up', '↑', 'ArrowUp'], ['righttop', '↗'],
  ['left', '←', 'ArrowLeft'], null, ['right', '→', 'ArrowRight'],
  ['leftdown', '↙'], ['down', '↓', 'ArrowDown'], ['rightdown', '↘'],
];
const LENS = [['zoom', 'zoomdec', 'zoominc'], ['focus', 'focusdec', 'focusinc'], ['iris', 'aperturedec', 'apertureinc']];
const KEYS = { '+': 'zoominc', '=': 'zoominc', '-': 'zoomdec', ...Object.fromEntries(PAD.filter((x) => x?.[2]).map(([operate, , key]) => [key, operate])) };
/** Questions to a camera that moves, and how long apart. */
const FOLLOW_N = 20;
const FOLLOW_MS = 500;
/** Points of a cruise made here. */
const STAY_S = 10;
const CRUISE_SPEED = 100;

export class Ptz {
  constructor() {
    this.speed = Number(localStorage.getItem(SPEED_KEY)) || 50;
    this.queue = Promise.resolve();
    this.held = null;
    this.el = h('div', { class: 'ptz', data: { testid: 'ptz' }, onkeydown: (e) => this.#keyDown(e), onkeyup: (e) => this.#keyUp(e) });
    addEventListener('blur', () => this.release());
    onLang(() => { if (this.target) this.#draw(); });
  }

  /** Shows a channel: `{puid, index, name, deviceName}` with `channel` and `online` as the list has them; null: none. */
  show(target) {
    const key = target && JSON.stringify([target.puid, target.index, target.online, target.channel?.ptz, target.name]);
    if (key === this.key) return;
    this.release();
    this.key = key;
    this.target = target;
    this.presets = null;
    this.cruises = null;
    this.marked = [];
    this.error = null;
    this.position = null;
    this.asksPosition = true;
    this.#draw();
    if (this.#usable()) { this.#loadPresets(); this.#loadPosition(); }
  }

  /** Why the pad cannot be used, as a key of the words; '' if it can. */
  #reason() {
    if (this.target?.index === undefined) return 'ptz.nothing';
    if (!this.target.online) return 'ptz.offline';
    return Number(this.target.channel?.ptz ?? 0) < 0 ? 'ptz.fixed' : '';
  }

  #usable() { return this.#reason() === ''; }

  #where() { return `${encodeURIComponent(this.target.puid)}/${this.target.index}`; }

  #path(rest) { return `/pu/ptz/${rest.replace('{}', this.#where())}`; }

  // ---- moving ----

  press(operate) {
    if (this.held === operate || !this.#usable()) return;
    this.release();
    this.held = operate;
    this.el.querySelector(`[data-operate="${operate}"]`)?.classList.add('held');
    this.#steer(operate, false);
  }

  release() {
    stopMarking();
    const operate = this.held;
    if (!operate) return;
    this.held = null;
    this.el.querySelector(`[data-operate="${operate}"]`)?.classList.remove('held');
    this.#steer(operate, true).then(() => this.#loadPosition());
  }

  /** The path is taken now: the end of a movement goes to the camera that was moved, whatever is shown by then. */
  #steer(operate, stop) {
    const path = this.#path('camera/{}');
    const body = { operate, stop, hSpeed: this.speed, vSpeed: this.speed };
    this.queue = this.queue.then(() => call('POST', path, body)).then(() => this.#fail(null), (error) => this.#fail(error));
    return this.queue;
  }

  #fail(error) {
    this.error = error;
    this.notice?.replaceChildren(...(error ? [failure(error)] : []));
  }

  /**
   * Where the camera looks, until it stands still or for FOLLOW_N questions. A device of an older edition does not say, and
   * is not asked again.
   */
  async #loadPosition() {
    const { target } = this;
    if (!target || !this.asksPosition) return;
    const turn = this.turn = Symbol('position');
    for (let n = 0; n < FOLLOW_N; n++) {
      const before = JSON.stringify(this.position);
      try {
        const got = await gantry('GET', `/ptz/${this.#where()}`);
        if (this.turn !== turn || this.target !== target) return;
        this.position = got;
      } catch {
        if (this.target === target) { this.asksPosition = false; this.position = null; this.#drawPosition(); }
        return;
      }
      this.#drawPosition();
      if (JSON.stringify(this.position) === before) return;
      await new Promise((resolve) => setTimeout(resolve, FOLLOW_MS));
      if (this.turn !== turn || this.target !== target || !this.el.isConnected) return;
    }
  }

  // ---- presets and cruises ----

  async #do(work, after) {
    try {
      await work();
      this.#fail(null);
      if (after) await after.call(this);
    } catch (error) { this.#fail(error); }
  }

  async #loadPresets() {
    const { target } = this;
    try {
      const { data } = await call('GET', this.#path('preset/list/{}'));
      if (this.target !== target) return;
      this.presets = [...(data ?? [])].sort((a, b) => a.id - b.id);
      this.presetError = null;
    } catch (error) {
      if (this.target !== target) return;
      this.presets = [];
      this.presetError = error;
    }
    this.marked = this.marked.filter((id) => this.presets.some((p) => p.id === id));
    this.#drawPresets();
    if (!this.presetError && !this.cruises) await this.#loadCruises();
  }

  async #loadCruises() {
    const { target } = this;
    try {
      const { data } = await call('GET', this.#path('cruise/list/{}'));
      if (this.target !== target) return;
      this.cruises = data ?? [];
      this.cruiseError = null;
    } catch (error) {
      if (this.target !== target) return;
      this.cruises = [];
      this.cruiseError = error;
    }
    this.#drawCruises();
  }

  #setPreset(event) {
    event.preventDefault();
    const name = this.presetName.value.trim();
    const number = Number(this.presetNumber.value);
    this.#do(() => call('POST', this.#path('preset/{}'), { ...(number && { id: number }), ...(name && { name }) }), async () => {
      this.presetName.value = '';
      this.presetNumber.value = '';
      await this.#loadPresets();
    });
  }

  #makeCruise(event) {
    event.preventDefault();
    const used = new Set((this.cruises ?? []).map((c) => c.id));
    const id = [...Array(256).keys()].find((n) => n > 0 && !used.has(n)) ?? 1;
    const name = this.cruiseName.value.trim() || t('ptz.cruise.n', { n: id });
    const duration = Number(this.stay.value) || STAY_S;
    const points = this.marked.map((preset) => ({ preset, speed: CRUISE_SPEED, duration }));
    this.#do(() => call('POST', this.#path('cruise/{}'), { id, name, points }), async () => {
      this.marked = [];
      this.cruiseName.value = '';
      this.#drawPresets();
      await this.#loadCruises();
    });
  }

  // ---- display ----

  #draw() {
    const reason = this.#reason();
    const { target } = this;
    this.el.dataset.reason = reason;
    const off = reason !== '';
    this.el.replaceChildren(...[
      target && h('p', { class: 'panel-name' }, target.name, target.deviceName === target.name ? null : h('span', { class: 'dim' }, ` ${target.deviceName}`)),
      reason && h('p', { class: 'reason', data: { testid: 'ptz-reason' } }, icon('info'), h('span', {}, t(reason))),
      h('div', { class: 'ptz-head', inert: off, 'aria-disabled': off },
        h('div', { class: 'pad', role: 'group', aria: { label: t('ptz.pad') } }, PAD.map((cell) => (cell
          ? this.#hold(cell[0], cell[1])
          : h('span', { class: 'pad-middle num', data: { testid: 'ptz-speed' } }, String(this.speed))))),
        h('div', { class: 'lens' }, LENS.map(([name, less, more]) => h('div', { class: 'lens-row' },
          this.#hold(less, '−'), h('span', {}, t(`ptz.${name}`)), this.#hold(more, '+'))),
        h('label', { class: 'lens-speed' }, h('span', { class: 'dim' }, t('ptz.speed')),
          h('input', { type: 'range', min: 1, max: 100, value: this.speed, aria: { label: t('ptz.speed') }, data: { testid: 'ptz-slider' }, oninput: (e) => this.#setSpeed(Number(e.target.value)) })))),
      this.look = h('p', { class: 'look num dim' }),
      this.notice = h('div', { role: 'alert' }, this.error ? failure(this.error) : null),
      this.presetPart = h('section', {}), this.cruisePart = h('section', {}),
      off ? null : precise(this.#where(), () => this.#loadPosition()), off ? null : tracking(this.#where(), this.target), off ? null : scanning(this.#where()), off ? null : home(this.#where()),
      off ? null : h('p', { class: 'hint dim small' }, t('ptz.keys')),
    ].filter(Boolean));
    this.#drawPosition();
    this.#drawPresets();
    this.#drawCruises();
  }

  #hold(operate, sign) {
    const label = t(`ptz.${operate}`);
    return h('button', {
      type: 'button', title: label, aria: { label }, data: { operate, testid: `ptz-${operate}` },
      onpointerdown: (e) => { if (e.button === 0) { e.currentTarget.setPointerCapture(e.pointerId); this.press(operate); } },
      onpointerup: () => this.release(), onpointercancel: () => this.release(), onlostpointercapture: () => this.release(),
      oncontextmenu: (e) => e.preventDefault(),
      onkeydown: (e) => { if (e.key === ' ' || e.key === 'Enter') { e.preventDefault(); e.stopPropagation(); this.press(operate); } },
      onkeyup: (e) => { if (e.key === ' ' || e.key === 'Enter') this.release(); },
      onblur: () => this.release(),
    }, sign);
  }

  #setSpeed(speed) {
    this.speed = speed;
    localStorage.setItem(SPEED_KEY, String(speed));
    this.el.querySelector('.pad-middle').textContent = String(speed);
  }

  /** Arrows, + and − steer while the focus is in the panel and not in a field. */
  #keyDown(event) {
    const operate = KEYS[event.key];
    if (!operate || event.target.closest('input, select') || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    this.press(operate);
  }

  #keyUp(event) { if (KEYS[event.key] === this.held) this.release(); }

  #drawPosition() {
    if (!this.look) return;
    const p = this.position;
    const parts = p ? ['pan', 'tilt', 'zoom'].filter((key) => Number.isFinite(p[key])).map((key) => `${t(`ptz.at.${key}`)} ${p[key].toFixed(1)}${key === 'zoom' ? '×' : '°'}`) : [];
    this.look.textContent = parts.join('   ');
    this.look.hidden = parts.length === 0;
  }

  #drawPresets() {
    if (!this.presetPart) return;
    this.presetPart.hidden = !this.#usable();
    if (!this.#usable()) return this.presetPart.replaceChildren();
    const { presets } = this;
    const typed = [this.presetNumber?.value ?? '', this.presetName?.value ?? ''];
    const go = (p) => this.#do(() => call('PUT', this.#path(`preset/go/{}/${p.id}`), {}), () => this.#loadPosition());
    this.presetPart.replaceChildren(
      h('h3', {}, h('span', {}, t('ptz.presets')), h('span', { class: 'grow' }),
        h('button', { class: 'quiet', title: t('ptz.reload'), aria: { label: t('ptz.reload') }, onclick: () => { this.cruises = null; this.#loadPresets(); } }, icon('retry'))),
      presets === null ? h('p', { class: 'dim' }, t('loading'))
        : this.presetError ? failure(this.presetError)
          : presets.length === 0 ? h('p', { class: 'dim' }, t('ptz.presets.none'))
            : h('ul', { class: 'list', data: { testid: 'presets' } }, presets.map((p) => h('li', { data: { testid: `preset-${p.id}` } },
              h('input', { type: 'checkbox', checked: this.marked.includes(p.id), title: t('ptz.mark'), aria: { label: t('ptz.mark') }, data: { testid: 'mark' }, onchange: (e) => this.#mark(p.id, e.target.checked) }),
              h('span', { class: 'num dim' }, String(p.id)), h('span', { class: 'list-name' }, p.name || t('ptz.preset.n', { n: p.id })),
              h('button', { class: 'quiet text', data: { testid: 'go' }, onclick: () => go(p) }, t('ptz.go')),
              h('button', { class: 'quiet text', title: t('ptz.reset.hint'), data: { testid: 'reset' }, onclick: () => this.#do(() => call('PUT', this.#path(`preset/{}/${p.id}`), { name: p.name ?? undefined }), this.#loadPresets) }, t('ptz.reset')),
              h('button', { class: 'quiet', title: t('delete'), aria: { label: t('delete') }, data: { testid: 'delete' }, onclick: () => this.#do(() => call('DELETE', this.#path(`preset/{}/${p.id}`)), this.#loadPresets) }, icon('trash'))))),
      h('form', { class: 'line', onsubmit: (e) => this.#setPreset(e) },
        this.presetNumber = h('input', { type: 'number', min: 1, max: 255, placeholder: t('ptz.number'), aria: { label: t('ptz.number') }, value: typed[0], data: { testid: 'preset-number' } }),
        this.presetName = h('input', { maxLength: 32, placeholder: t('ptz.name'), aria: { label: t('ptz.name') }, value: typed[1], data: { testid: 'preset-name' } }),
        h('button', { type: 'submit', title: t('ptz.set.hint'), data: { testid: 'preset-set' } }, t('ptz.set'))));
  }

  #mark(id, on) {
    this.marked = on ? [...this.marked, id] : this.marked.filter((x) => x !== id);
    this.#drawCruises();
  }

  #drawCruises() {
    if (!this.cruisePart) return;
    this.cruisePart.hidden = !this.#usable();
    if (!this.#usable()) return this.cruisePart.replaceChildren();
    const { cruises, marked } = this;
    const typed = [this.cruiseName?.value ?? '', this.stay?.value ?? String(STAY_S)];
    const act = (verb, c) => this.#do(() => call('PUT', this.#path(`cruise/${verb}/{}/${c.id}`), {}), () => this.#loadPosition());
    this.cruisePart.replaceChildren(
      h('h3', {}, t('ptz.cruises')),
      cruises === null ? h('p', { class: 'dim' }, t(this.presetError ? 'ptz.cruises.none' : 'loading'))
        : this.cruiseError ? failure(this.cruiseError)
          : cruises.length === 0 ? h('p', { class: 'dim' }, t('ptz.cruises.none'))
            : h('ul', { class: 'list', data: { testid: 'cruises' } }, cruises.map((c) => h('li', { data: { testid: `cruise-${c.id}` } },
              h('span', { class: 'num dim' }, String(c.id)), h('span', { class: 'list-name', title: (c.points ?? []).map((p) => p.preset).join(' → ') }, c.name || t('ptz.cruise.n', { n: c.id })),
              h('span', { class: 'dim num' }, t('ptz.points', { n: c.points?.length ?? 0 })),
              h('button', { class: 'quiet text', data: { testid: 'start' }, onclick: () => act('start', c) }, t('ptz.start')),
              h('button', { class: 'quiet text', data: { testid: 'stop' }, onclick: () => act('stop', c) }, t('ptz.stop')),
              h('button', { class: 'quiet', title: t('delete'), aria: { label: t('delete') }, data: { testid: 'delete' }, onclick: () => this.#do(() => call('DELETE', this.#path(`cruise/{}/${c.id}`)), this.#loadCruises) }, icon('trash'))))),
      h('form', { class: 'line', onsubmit: (e) => this.#makeCruise(e) },
        this.cruiseName = h('input', { maxLength: 32, placeholder: t('ptz.cruise.name'), aria: { label: t('ptz.cruise.name') }, value: typed[0], data: { testid: 'cruise-name' } }),
        this.stay = h('input', { type: 'number', min: 1, max: 4095, value: typed[1], title: t('ptz.stay'), aria: { label: t('ptz.stay') } }),
        h('button', { type: 'submit', disabled: marked.length === 0, title: t('ptz.cruise.hint'), data: { testid: 'cruise-make' } }, t('ptz.cruise.make', { points: marked.length ? marked.join(' → ') : '' }))));
  }
}
