// Alarms as they come: the list, the badge on its button, and acknowledging. Beside it, what else devices tell.
//
// The socket tells what comes; what the node keeps is asked for when the page opens and when the socket was lost. Where the
// node keeps none, the list holds what this page has heard.

import { call, watch } from './api.js';
import { failure, h, icon } from './dom.js';
import { lang, onLang, t } from './i18n.js';

/** Alarms in the list; older ones leave it. */
const SHOWN_MAX = 500;
/** Keys that one call takes. */
const KEYS_MAX = 1000;
/** What `status` says of an alarm that somebody has seen to. */
const HANDLED = 2;
/** Rows in the document. */
const DRAWN_MAX = 200;

export class Alarms {
  /** `hooks`: onCount(number of unacknowledged), onPlay(alarm), onLocate(alarm). `notices` is shown in the second list. */
  constructor(hooks, notices) {
    this.hooks = hooks;
    this.notices = notices;
    this.shows = 'alarms';
    this.listeners = new Set();
    this.list = [];
    this.openOnly = false;
    this.fresh = new Set();
    this.el = h('div', { class: 'alarms', data: { testid: 'alarms' } }, this.tabs = h('div', { class: 'tabs', role: 'tablist' }), this.body = h('div', { role: 'tabpanel' }));
    onLang(() => this.draw());
    this.draw();
  }

  start() {
    this.socket = watch('event/alarm', { onEvent: (event) => this.#take(event), onState: (up) => { if (up && this.wasLost) this.load(); this.wasLost = !up; } });
    this.load();
  }

  stop() {
    this.socket?.stop();
    this.wasLost = false;
    this.list = [];
    this.draw();
  }

  /** What the node has kept. */
  async load() {
    try {
      const { data } = await call('POST', '/alarm', { page: 0, pageSize: DRAWN_MAX, filter: {} });
      for (const row of data ?? []) this.#add(read(row));
      this.list = this.list.sort((a, b) => b.time - a.time).slice(0, SHOWN_MAX);
      this.draw();
    } catch { /* this node keeps none: the socket is all there is */ }
  }

  #take(event) {
    if (!event?.devID) return;
    const alarm = read(event);
    if (this.#add(alarm)) this.fresh.add(alarm.key);
    this.list = this.list.slice(0, SHOWN_MAX);
    for (const listener of this.listeners) listener(alarm);
    setTimeout(() => this.fresh.delete(alarm.key), 2000);
    this.draw();
  }

  /**
   * Puts an alarm at the top, unless it is known: a device that is asked for what it remembers tells it again, and the node
   * keeps it again, by another key. True: it is new.
   */
  #add(alarm) {
    const known = this.list.find((a) => a.keys.includes(alarm.key) || (alarm.told && a.told === alarm.told && a.puid === alarm.puid && a.index === alarm.index && a.sort === alarm.sort));
    if (!known) {
      this.list.unshift(alarm);
      return true;
    }
    if (!known.keys.includes(alarm.key)) known.keys.push(alarm.key);
    known.done ||= alarm.done;
    known.time = Math.min(known.time, alarm.time);
    return false;
  }

  /** `listener(alarm)` is told what comes; returns how to end that. */
  listen(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  get open() { return this.list.filter((a) => !a.done).length; }

  /** An alarm that the node has kept is acknowledged there; one that only this page has heard, here. */
  async acknowledge(alarms) {
    const these = alarms.filter((a) => !a.done);
    const keys = these.filter((a) => a.kept).flatMap((a) => a.keys);
    this.error = null;
    try {
      for (let i = 0; i < keys.length; i += KEYS_MAX) await call('PUT', '/alarm/handle', { keys: keys.slice(i, i + KEYS_MAX) });
      for (const alarm of these) alarm.done = true;
    } catch (error) { this.error = error; }
    this.draw();
  }

  drawTabs() {
    const tab = (name, n) => h('button', { class: 'tab', role: 'tab', aria: { selected: String(this.shows === name) }, data: { testid: `tab-${name}` }, onclick: () => { this.shows = name; this.draw(); } }, t(`panel.${name}`), n ? h('span', { class: 'num dim' }, ` ${n}`) : null);
    this.tabs.replaceChildren(tab('alarms', this.open), tab('notices', this.notices.list.length));
  }

  draw() {
    const { open } = this;
    this.hooks.onCount(open);
    this.drawTabs();
    if (this.shows === 'notices') return this.body.replaceChildren(this.notices.el);
    const shown = this.openOnly ? this.list.filter((a) => !a.done) : this.list;
    const locale = lang() === 'zh' ? 'zh-CN' : 'en-GB';
    this.body.replaceChildren(...[
      h('div', { class: 'line alarms-head' },
        h('label', { class: 'check' }, h('input', { type: 'checkbox', checked: this.openOnly, onchange: (e) => { this.openOnly = e.target.checked; this.draw(); } }), h('span', {}, t('alarm.open', { n: open }))),
        h('span', { class: 'grow' }),
        h('button', { disabled: open === 0, data: { testid: 'acknowledge-all' }, onclick: () => this.acknowledge(this.list) }, t('alarm.all'))),
      this.error && failure(this.error),
      shown.length ? null : h('p', { class: 'dim' }, t('alarm.none')),
      h('ul', { class: 'alarm-list' }, shown.slice(0, DRAWN_MAX).map((a) => h('li', { class: [a.done ? 'done' : 'open', `level-${a.level}`, this.fresh.has(a.key) && 'fresh'].filter(Boolean).join(' '), data: { testid: 'alarm', key: a.key, done: String(a.done) } },
        h('span', { class: 'alarm-level num', title: t('alarm.level', { n: a.level || '–' }) }, a.level ? String(a.level) : '–'),
        h('div', { class: 'alarm-text' }, h('b', {}, a.what()), h('span', { class: 'dim' }, [a.device, a.index >= 0 ? `/ ${a.index}` : ''].filter(Boolean).join(' ')),
          h('span', { class: 'dim num' }, new Date(a.time * 1000).toLocaleString(locale))),
        h('button', { class: 'quiet', title: t('alarm.play'), aria: { label: t('alarm.play') }, data: { testid: 'alarm-play' }, onclick: () => this.hooks.onPlay(a) }, icon('camera')),
        a.lat || a.lng ? h('button', { class: 'quiet', title: t('alarm.locate'), aria: { label: t('alarm.locate') }, onclick: () => this.hooks.onLocate(a) }, icon('map')) : null,
        h('button', { class: 'quiet', disabled: a.done, title: t('alarm.ack'), aria: { label: t('alarm.ack') }, data: { testid: 'acknowledge' }, onclick: () => this.acknowledge([a]) }, icon('check'))))),
    ].filter(Boolean));
  }
}

/** An `alarm_info` message, or a row of the list that the node keeps. */
function read(m) {
  let told = {};
  try { told = typeof m.payload === 'string' && m.payload ? JSON.parse(m.payload) : (m.payload ?? {}); } catch { /* of another protocol */ }
  const { method } = told;
  const type = told.info?.alarmType ?? 0;
  return {
    key: String(m.key), keys: [String(m.key)], sort: `${method}.${type}`, kept: /^\d+$/.test(m.key), time: Number(m.time), puid: m.devID, device: m.devName || m.devID, index: Number(m.subDevIdx ?? -1),
    told: told.time ?? '', level: told.priority ?? m.priority ?? 0, lat: m.lat, lng: m.lng, done: m.processed === true || Number(m.status) === HANDLED,
    /** The device's own words, else those of the standard in the reader's language. */
    what: () => {
      if (told.description) return told.description;
      const key = type ? `alarm.${method}.${type}` : `alarm.${method}`;
      return t(key) === key ? m.desc : t(key);
    },
  };
}
