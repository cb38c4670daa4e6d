// What devices tell beside alarms and positions: that they upload a video, and where their cameras look. One list as it comes,
// and of one device what the node has kept.

import { gantry, watch } from './api.js';
import { failure, h, icon } from './dom.js';
import { lang, onLang, t } from './i18n.js';

/** Notices in the list; older ones leave it. */
const SHOWN_MAX = 200;
/** Kept notices of a device that are asked for. */
const KEPT_PAGE = 50;

export class Notices {
  /** `hooks`: onLocate(notice), nameOf(puid, index): what the list calls a channel, onChange(). */
  constructor(hooks) {
    this.hooks = hooks;
    this.list = [];
    this.listeners = new Set();
    this.el = h('div', { class: 'notices', data: { testid: 'notices' } });
    onLang(() => this.draw());
    this.draw();
  }

  start() { this.socket = watch('/gantry/v1/ws/notices', { onEvent: (event) => this.#take(event) }); }

  stop() {
    this.socket?.stop();
    this.list = [];
    this.draw();
  }

  /** `listener(notice)` is told what comes; returns how to end that. */
  listen(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Where a camera looks comes many times a second while it turns: the newest stands for all of them. */
  #take({ type, puid, index, time, data }) {
    if (!type || !puid) return;
    const notice = { kind: type, puid, index, time, data: data ?? {} };
    const same = (n) => type === 'ptzPosition' && n.kind === type && n.puid === puid && n.index === index;
    this.list = [notice, ...this.list.filter((n) => !same(n))].slice(0, SHOWN_MAX);
    for (const listener of this.listeners) listener(notice);
    this.draw();
  }

  draw() {
    this.el.replaceChildren(this.list.length ? h('ul', { class: 'alarm-list' }, this.list.map((n) => this.row(n))) : h('p', { class: 'dim' }, t('notice.none')));
    this.hooks.onChange();
  }

  row(n) {
    const locale = lang() === 'zh' ? 'zh-CN' : 'en-GB';
    const placed = Number.isFinite(n.data.longitude) && Number.isFinite(n.data.latitude);
    return h('li', { data: { testid: 'notice', kind: n.kind } },
      h('span', { class: 'alarm-level' }, icon(n.kind === 'videoUpload' ? 'up' : 'ptz')),
      h('div', { class: 'alarm-text' }, h('b', {}, t(`notice.${n.kind}`)), h('span', { class: 'dim' }, this.hooks.nameOf(n.puid, n.index)),
        h('span', { class: 'num' }, told(n)), h('span', { class: 'dim num' }, new Date(n.time * 1000).toLocaleString(locale))),
      placed ? h('button', { class: 'quiet', title: t('alarm.locate'), aria: { label: t('alarm.locate') }, onclick: () => this.hooks.onLocate({ ...n, lng: n.data.longitude, lat: n.data.latitude }) }, icon('map')) : null);
  }

  /** What the node has kept of a device, newest first, and what comes while it is looked at. */
  kept(puid) {
    const box = h('div', { data: { testid: 'notices-kept' } }, h('p', { class: 'dim' }, t('loading')));
    const draw = (list) => box.replaceChildren(list.length ? h('ul', { class: 'alarm-list' }, list.map((n) => this.row(n))) : h('p', { class: 'dim' }, t('notice.none')));
    gantry('POST', `/devices/${encodeURIComponent(puid)}/notices/list`, { page: 0, pageSize: KEPT_PAGE, filter: {} }).then(({ data }) => {
      let list = (data ?? []).map(read);
      draw(list);
      const end = this.listen((n) => {
        if (!box.isConnected) return end();
        if (n.puid !== puid) return;
        list = [n, ...list].slice(0, KEPT_PAGE);
        draw(list);
      });
    }, (error) => box.replaceChildren(failure(error)));
    return box;
  }
}

/** A row that the node has kept, as a notice of the socket. */
function read({ kind, device, place, time, payload }) {
  let data = {};
  try { data = JSON.parse(payload); } catch { /* told in words that this page does not know */ }
  return { kind, puid: device, index: place ?? -1, time, data };
}

function told({ kind, data }) {
  const degrees = (key, unit) => (Number.isFinite(data[key]) ? `${t(`ptz.at.${key}`)} ${data[key].toFixed(1)}${unit}` : '');
  if (kind === 'ptzPosition') return [degrees('pan', '°'), degrees('tilt', '°'), degrees('zoom', '×')].filter(Boolean).join(' · ');
  const place = Number.isFinite(data.longitude) && Number.isFinite(data.latitude) ? `${data.longitude.toFixed(5)}, ${data.latitude.toFixed(5)}` : '';
  return [data.time, place].filter(Boolean).join(' · ');
}
