// The panel at the right: details of the selected view, turning its camera, its device, alarms, or the node's sessions.

import { closeDialog, device, dialogInfo, dialogs, lastFailure } from './api.js';
import { facts } from './device.js';
import { Diagnosis } from './diagnosis.js';
import { byteCount, h, icon } from './dom.js';
import { onLang, t } from './i18n.js';

const REFRESH_MS = 2000;

const TITLES = { details: 'panel.details', ptz: 'panel.ptz', device: 'panel.device', alarms: 'panel.alarms', sessions: 'top.sessions' };

/** Names that the API gives a transport, by ours. */
const KINDS = { webrtc: /^webrtc$/i, fmp4: /fmp4|mp4/i, flv: /flv/i };

export class Panel {
  /**
   * `selected()` gives the selected view, `subject()` what the user chose last, `parts` the panels that draw themselves:
   * `ptz`, `device`, `alarms`. `onMode(mode)` is told what is shown: '' or a key of TITLES.
   */
  constructor(el, { selected, subject, parts, onMode }) {
    this.el = el;
    this.selected = selected;
    this.subject = subject;
    this.parts = parts;
    this.onMode = onMode;
    this.mode = '';
    this.devices = new Map();
    this.diagnosis = new Diagnosis();
    onLang(() => this.refresh());
  }

  show(mode) {
    if (this.mode === 'ptz' && mode !== 'ptz') this.parts.ptz.release();
    this.mode = mode;
    clearInterval(this.timer);
    this.el.hidden = mode === '';
    this.onMode(mode);
    if (!mode) return;
    this.body = h('div', { class: 'panel-body' });
    this.el.replaceChildren(
      h('div', { class: 'panel-head' }, this.title = h('h2'), h('span', { class: 'grow' }),
        h('button', { class: 'quiet', title: t('panel.close'), aria: { label: t('panel.close') }, onclick: () => this.show('') }, icon('close'))),
      this.body);
    this.timer = setInterval(() => this.refresh(), REFRESH_MS);
    this.refresh();
  }

  toggle(mode) { this.show(this.mode === mode ? '' : mode); }

  async refresh() {
    if (!this.mode) return;
    const { mode } = this;
    this.title.textContent = t(TITLES[mode]);
    if (this.parts[mode]) return this.#part(mode);
    const turn = this.turn = Symbol();
    const content = mode === 'details' ? await this.#details() : await this.#sessions();
    if (this.turn === turn && this.mode === mode) this.#put(content);
  }

  /** A part keeps its element and what has been typed into it. */
  #part(mode) {
    const { el } = this.parts[mode];
    if (el.parentNode !== this.body) this.body.replaceChildren(el);
    if (mode !== 'alarms') this.parts[mode].show(this.subject());
  }

  /** The diagnosis stays where it is while what stands around it is replaced: what a reader has opened stays open. */
  #put(content) {
    const at = content.indexOf(this.diagnosis.el);
    if (at < 0 || this.diagnosis.el.parentNode !== this.body) return this.body.replaceChildren(...content);
    for (const child of [...this.body.children]) if (child !== this.diagnosis.el) child.remove();
    this.diagnosis.el.before(...content.slice(0, at));
    this.diagnosis.el.after(...content.slice(at + 1));
  }

  async #details() {
    const tile = this.selected();
    if (!tile?.target) return [h('p', { class: 'dim' }, t('panel.nothing'))];
    const { target } = tile;
    const out = [h('p', { class: 'panel-name' }, target.name, target.deviceName === target.name ? null : h('span', { class: 'dim' }, ` ${target.deviceName}`)), h('p', { class: 'dim num code' }, `${target.puid} / ${target.index}`)];
    try {
      const info = await this.#sessionOf(tile);
      this.diagnosis.show(info, target.puid);
      if (!info && tile.state === 'playing') out.push(h('p', { class: 'dim' }, t('panel.nosession')));
    } catch (error) {
      this.diagnosis.show(null, target.puid);
      out.push(h('p', { class: 'dim' }, t('panel.failed', { msg: error.message })));
    }
    if (tile.error && tile.state !== 'playing') out.push(section(t(`stage.${tile.error.stage}`), tile.attempts.map((a) => [t(`transport.${a.transport}`), t(`stage.${a.error.stage}`)])));
    out.push(this.diagnosis.el);
    if (tile.state === 'playing') out.push(section(t('panel.view'), tile.rows().map(([key, value]) => [t(key), value])));
    const info = await this.#deviceOf(target.puid);
    if (info) out.push(section(t('panel.device'), facts(info).filter(([, value]) => value).map(([key, value]) => [t(key), value])));
    return out;
  }

  /** WebRTC knows its session; a WebSocket's is the newest of its kind on the channel. Of a view that failed: the record. */
  async #sessionOf(tile) {
    if (tile.state === 'failed' || tile.state === 'retrying') return lastFailure(tile.target);
    if (tile.state !== 'playing') return null;
    let id = tile.player?.dialogId;
    if (!id) {
      const mine = (await dialogs({ puid: tile.target.puid })).filter((d) => Number(d.index) === tile.target.index && KINDS[tile.transport].test(kindOf(d)));
      id = idOf(mine.at(-1) ?? {});
    }
    return id ? dialogInfo(id, decodes(tile.transport)) : null;
  }

  async #deviceOf(puid) {
    if (!this.devices.has(puid)) {
      this.devices.set(puid, await device(puid).catch(() => null));
      setTimeout(() => this.devices.delete(puid), 10_000);
    }
    return this.devices.get(puid);
  }

  async #sessions() {
    let list;
    try { list = await dialogs(); } catch (error) { return [h('p', { class: 'dim' }, t('panel.failed', { msg: error.message }))]; }
    if (!list.length) return [h('p', { class: 'dim' }, t('panel.sessions.none'))];
    const head = ['col.target', 'col.kind', 'col.stage', 'col.user', 'col.sent'].map((key) => h('th', { scope: 'col' }, t(key)));
    return [h('table', { class: 'sessions num', data: { testid: 'session-table' } },
      h('thead', {}, h('tr', {}, head, h('th'))),
      h('tbody', {}, list.map((d) => h('tr', {},
        h('td', { title: `${d.puid} ${d.stream}` }, d.puid ? `${d.puid.slice(-8)} / ${d.index}` : d.stream), h('td', {}, kindOf(d)), h('td', {}, t(`session.${d.stage}`)),
        h('td', {}, d.userid), h('td', { class: 'right' }, byteCount(Number(d.sentBytes ?? d.bytes ?? 0))),
        h('td', {}, h('button', { class: 'quiet text', onclick: async () => { await closeDialog(idOf(d)); this.refresh(); } }, t('panel.end')))))))];
  }
}

/** Picture codecs that this browser can decode by a transport. */
function decodes(transport) {
  const rtc = () => globalThis.RTCRtpReceiver?.getCapabilities('video')?.codecs.some((c) => /h265/i.test(c.mimeType));
  const mse = () => globalThis.MediaSource?.isTypeSupported('video/mp4; codecs="hvc1.1.6.L93.B0"');
  return (transport === 'webrtc' ? rtc() : mse()) ? 'h264,h265' : 'h264';
}

const idOf = (d) => d.dialogid;
const kindOf = (d) => d.transport;

function section(title, rows) {
  return h('section', {}, h('h3', {}, title), h('dl', { class: 'num' }, rows.flatMap(([key, value]) => [h('dt', {}, key), h('dd', {}, value)])));
}
