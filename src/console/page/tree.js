// The device tree. Only the rows in sight are in the document, so that twenty thousand devices cost what thirty do.

import { h, icon } from './dom.js';
import { onLang, t } from './i18n.js';

const ROW_PX = 28;
/** Rows drawn above and below what is in sight. */
const MARGIN_ROWS = 8;
/** Up to so many devices are shown opened at first. */
const OPEN_AT_FIRST_MAX = 12;

export class Tree {
  /** `onPlay(target, clickedAt)`; `isShown(puid, index)` marks channels that are on the wall. */
  constructor(el, { onPlay, isShown }) {
    this.el = el;
    this.onPlay = onPlay;
    this.isShown = isShown;
    this.devices = [];
    this.open = new Set();
    this.query = '';
    this.onlineOnly = false;
    this.active = '';
    this.status = { key: 'tree.loading' };
    this.el.append(
      this.note = h('div', { class: 'tree-note' }),
      this.view = h('div', { class: 'tree-view', role: 'tree', tabIndex: 0, data: { testid: 'tree-view' }, onkeydown: (e) => this.#key(e), onscroll: () => this.#draw() },
        this.space = h('div', { class: 'tree-space' })));
    new ResizeObserver(() => this.#draw()).observe(this.view);
    onLang(() => this.refresh());
    this.rows = [];
    this.refresh();
  }

  setDevices(devices) {
    const first = this.devices.length === 0;
    this.devices = [...devices].sort((a, b) => Number(b.status) - Number(a.status) || label(a).localeCompare(label(b), undefined, { numeric: true }));
    if (first && devices.length <= OPEN_AT_FIRST_MAX) for (const d of devices) this.open.add(d.id);
    this.status = null;
    this.refresh();
  }

  /** A device as an event or a fresh query tells it; new ones are added. */
  update(device) {
    const at = this.devices.findIndex((d) => d.id === device.id);
    if (at < 0) return this.setDevices([...this.devices, device]);
    this.devices[at] = { ...this.devices[at], ...device };
    this.refresh();
  }

  fail(message) {
    this.status = { key: 'tree.failed', msg: message };
    this.refresh();
  }

  filter(query, onlineOnly) {
    this.query = query.trim().toLowerCase();
    this.onlineOnly = onlineOnly;
    this.view.scrollTop = 0;
    this.refresh();
  }

  counts() {
    return { total: this.devices.length, online: this.devices.filter((d) => Number(d.status) === 1).length };
  }

  refresh() {
    this.rows = [...this.#visible()];
    const empty = this.rows.length === 0;
    this.view.hidden = empty;
    this.note.hidden = !empty;
    if (empty) this.note.replaceChildren(...this.#emptyNote());
    this.space.style.height = `${this.rows.length * ROW_PX}px`;
    this.view.setAttribute('aria-label', t('tree.title'));
    this.#draw();
  }

  #emptyNote() {
    if (this.status) return [h('span', {}, t(this.status.key, { msg: this.status.msg }))];
    if (this.devices.length) return [h('span', {}, t('tree.nomatch'))];
    return [h('strong', {}, t('tree.none')), h('span', { class: 'dim' }, t('tree.none.hint'))];
  }

  *#visible() {
    const { query } = this;
    for (const device of this.devices) {
      const online = Number(device.status) === 1;
      if (this.onlineOnly && !online) continue;
      const channels = device.channels ?? [];
      const deviceHit = !query || matches(query, device.name, device.id);
      const hits = deviceHit ? channels : channels.filter((c) => matches(query, c.name, c.id));
      if (!deviceHit && hits.length === 0) continue;
      const open = this.open.has(device.id) || (query !== '' && !deviceHit);
      yield { id: device.id, level: 1, device, open, online };
      if (!open) continue;
      for (const channel of hits) {
        yield { id: `${device.id}-${channel.index}`, level: 2, device, channel, online: Number(channel.status ?? device.status) === 1 };
      }
      if (channels.length === 0) yield { id: `${device.id}-none`, level: 2, device, none: true, online };
    }
  }

  #draw() {
    const from = Math.max(0, Math.floor(this.view.scrollTop / ROW_PX) - MARGIN_ROWS);
    const to = Math.min(this.rows.length, Math.ceil((this.view.scrollTop + this.view.clientHeight) / ROW_PX) + MARGIN_ROWS);
    this.space.replaceChildren(...this.rows.slice(from, to).map((row, i) => this.#row(row, from + i)));
    const active = this.rows.find((r) => r.id === this.active);
    if (active) this.view.setAttribute('aria-activedescendant', `row-${active.id}`);
    else this.view.removeAttribute('aria-activedescendant');
  }

  #row(row, at) {
    const { device, channel } = row;
    const shown = channel && this.isShown(device.id, channel.index);
    const state = t(row.online ? 'status.online' : 'status.offline');
    const el = h('div', {
      id: `row-${row.id}`, role: 'treeitem', class: ['row', `level-${row.level}`, row.online ? 'on' : 'off', shown && 'shown', row.id === this.active && 'active'].filter(Boolean).join(' '),
      aria: { level: row.level, selected: row.id === this.active, ...(row.level === 1 && { expanded: row.open }) },
      data: { testid: channel ? `channel-${row.id}` : `device-${row.id}`, status: row.online ? 'online' : 'offline' },
      title: channel ? `${channel.name} · ${state}` : `${label(device)} · ${device.id} · ${state}`,
      onclick: (e) => this.#act(row, e.timeStamp),
    });
    el.style.top = `${at * ROW_PX}px`;
    if (row.none) el.append(h('span', { class: 'dim' }, t('tree.nochannels')));
    else if (channel) el.append(h('span', { class: 'dot' }), icon('camera'), h('span', { class: 'row-name' }, channel.name || String(channel.index)), h('span', { class: 'row-mark' }));
    else {
      el.append(h('span', { class: `twist${row.open ? ' open' : ''}` }, icon('chevron')), h('span', { class: 'dot' }), h('span', { class: 'row-name' }, label(device)),
        h('span', { class: 'dim num row-count' }, String(device.channels?.length ?? 0)));
    }
    return el;
  }

  #act(row, clickedAt) {
    this.active = row.id;
    if (row.channel) this.onPlay(targetOf(row), clickedAt);
    else if (row.level === 1) this.#toggle(row, !row.open);
    this.refresh();
  }

  #toggle(row, open) {
    if (open) this.open.add(row.device.id);
    else this.open.delete(row.device.id);
    this.refresh();
  }

  /** Keys of the tree pattern (WAI-ARIA Authoring Practices). */
  #key(event) {
    const at = this.rows.findIndex((r) => r.id === this.active);
    const row = this.rows[at];
    const page = Math.max(1, Math.floor(this.view.clientHeight / ROW_PX) - 1);
    const parent = row && this.rows.findIndex((r) => r.level === 1 && r.device === row.device);
    switch (event.key) {
      case 'ArrowDown': this.#goTo(at + 1); break;
      case 'ArrowUp': this.#goTo(at < 0 ? 0 : at - 1); break;
      case 'PageDown': this.#goTo(at + page); break;
      case 'PageUp': this.#goTo(at - page); break;
      case 'Home': this.#goTo(0); break;
      case 'End': this.#goTo(this.rows.length - 1); break;
      case 'ArrowRight': if (row?.level === 1) { if (row.open) this.#goTo(at + 1); else this.#toggle(row, true); } break;
      case 'ArrowLeft': if (row?.level === 2) this.#goTo(parent); else if (row) this.#toggle(row, false); break;
      case 'Enter': case ' ': if (row) this.#act(row, event.timeStamp); break;
      default: return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  #goTo(at) {
    if (!this.rows.length) return;
    const to = Math.min(this.rows.length - 1, Math.max(0, at));
    this.active = this.rows[to].id;
    const top = to * ROW_PX;
    const { scrollTop, clientHeight } = this.view;
    if (top < scrollTop) this.view.scrollTop = top;
    else if (top + ROW_PX > scrollTop + clientHeight) this.view.scrollTop = top + ROW_PX - clientHeight;
    this.#draw();
  }
}

export const label = (device) => device.name || device.id.replace(/^PU_/, '');

function targetOf({ device, channel }) {
  return { puid: device.id, index: channel.index, name: channel.name || `${label(device)} / ${channel.index}`, deviceName: label(device) };
}

function matches(query, ...texts) { return texts.some((x) => String(x ?? '').toLowerCase().includes(query)); }
