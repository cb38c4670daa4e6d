// The device tree. Only the rows in sight are in the document, so that twenty thousand devices cost what thirty do.
//
// The channels of a device come with the list. A device with more than LAZY_FROM of them, such as a platform below with
// directories of its own, is asked for level by level instead, and of a level only for the pages that are scrolled to: opening
// one costs one small call, whatever hangs below.

import { gantry } from './api.js';
import { h, icon } from './dom.js';
import { onLang, t } from './i18n.js';

const ROW_PX = 28;
/** Rows drawn above and below what is in sight. */
const MARGIN_ROWS = 8;
/** Devices with more channels than this are asked for level by level. */
const LAZY_FROM = 64;
/** Rows of a level that one call brings. */
const PAGE = 100;
/** Levels that are remembered; the oldest are forgotten, and asked for again. */
const LEVELS_MAX = 200;
/** After this a level is asked for again that was empty though its device has channels. */
const EMPTY_MS = 1000;
/** After the last key, before a device is asked for what is searched. */
const SEARCH_MS = 250;
const INDENT_PX = 22;
/** Up to so many devices are shown opened at first. */
const OPEN_AT_FIRST_MAX = 12;

export class Tree {
  /** `onPlay(target, clickedAt)`; `onDevice(device, open)`: chosen, `open` if its panel is wanted; `isShown(puid, index)` marks channels that are on the wall. */
  constructor(el, { onPlay, onDevice, isShown }) {
    this.el = el;
    this.onPlay = onPlay;
    this.onDevice = onDevice;
    this.isShown = isShown;
    this.devices = [];
    this.open = new Set();
    /** By device, node or search: `{total, items, rows, asked, error}`; `items` has holes where pages have not come. */
    this.levels = new Map();
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
    const sizes = new Map(devices.map((d) => [d.id, sizeOf(d)]));
    for (const [key, level] of this.levels) if (sizes.get(level.of.id) !== sizeOf(level.of)) this.levels.delete(key);
    this.refresh();
  }

  /** Levels are asked for anew. */
  forget() { this.levels.clear(); }

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
    this.onlineOnly = onlineOnly;
    this.view.scrollTop = 0;
    const wanted = query.trim().toLowerCase();
    clearTimeout(this.searching);
    const apply = () => { this.query = wanted; this.refresh(); };
    if (wanted && this.devices.some(isLazy)) this.searching = setTimeout(apply, SEARCH_MS);
    else apply();
  }

  find(puid) { return this.devices.find((d) => d.id === puid); }

  counts() {
    return { total: this.devices.length, online: this.devices.filter((d) => Number(d.status) === 1).length };
  }

  refresh() {
    this.rows = this.#visible();
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

  #visible() {
    const out = [];
    const { query } = this;
    for (const device of this.devices) {
      const online = Number(device.status) === 1;
      if (this.onlineOnly && !online) continue;
      const channels = device.channels ?? [];
      const deviceHit = !query || matches(query, device.name, device.id);
      if (isLazy(device)) { this.#lazy(out, device, online, deviceHit); continue; }
      const hits = deviceHit ? channels : channels.filter((c) => matches(query, c.name, c.id));
      if (!deviceHit && hits.length === 0) continue;
      const open = this.open.has(device.id) || (query !== '' && !deviceHit);
      out.push({ id: device.id, level: 1, device, open, online });
      if (!open) continue;
      for (const channel of hits) {
        out.push({ id: `${device.id}-${channel.index}`, level: 2, device, channel, online: Number(channel.status ?? device.status) === 1 });
      }
      if (channels.length === 0) out.push({ id: `${device.id}-none`, level: 2, device, none: true, online });
    }
    return out;
  }

  #lazy(out, device, online, deviceHit) {
    const searched = this.query !== '' && !deviceHit;
    const open = this.open.has(device.id) || searched;
    if (searched && this.#level(device, null, this.query).total === 0) return;
    out.push({ id: device.id, level: 1, device, open, online });
    if (open) this.#below(out, device, searched ? null : '', searched ? this.query : '', 2);
  }

  /**
   * The rows under a node; one that has not come yet is an empty row until it is scrolled to. Rows are made once and kept
   * with their level: a hundred thousand of them are passed on at every change, not made.
   */
  #below(out, device, parent, keyword, depth) {
    const level = this.#level(device, parent, keyword);
    if (level.error) return out.push({ id: `${level.key}!`, level: depth, device, error: level.error });
    if (level.of !== device) { level.of = device; level.rows = []; }
    const { rows, items } = level;
    const total = level.total ?? 1;
    for (let i = 0; i < total; i++) {
      const row = rows[i] ??= this.#rowOf(level, items[i], i, depth);
      if (this.onlineOnly && row.channel && !row.online) continue;
      out.push(row);
      if (!row.node) continue;
      row.open = this.open.has(row.id);
      if (row.open) this.#below(out, device, row.node.id, '', depth + 1);
    }
  }

  #rowOf(level, item, i, depth) {
    const device = level.of;
    const online = Number(device.status) === 1;
    if (!item) return { id: '', level: depth, device, waits: level, page: Math.floor(i / PAGE), online };
    if (item.index === undefined) return { id: `${device.id}|${item.id}`, level: depth, device, node: item, online };
    return { id: `${device.id}-${item.index}`, level: depth, device, channel: item, online: online && Number(item.status ?? 1) === 1 };
  }

  #level(device, parent, keyword) {
    const key = `${device.id}|${parent ?? ''}|${keyword}`;
    let level = this.levels.get(key);
    if (!level) {
      if (this.levels.size >= LEVELS_MAX) this.levels.delete(this.levels.keys().next().value);
      this.levels.set(key, level = { key, items: [], rows: [], asked: new Set(), of: device, parent, keyword });
      this.#ask(level, 0);
    }
    return level;
  }

  async #ask(level, page) {
    if (level.asked.has(page)) return;
    level.asked.add(page);
    const { of: device, parent, keyword } = level;
    try {
      const { data, pageInfo } = await gantry('POST', `/devices/${encodeURIComponent(device.id)}/tree`, { page, pageSize: PAGE, filter: { ...(parent !== null && { parent }), ...(keyword && { keyword }) } });
      const total = pageInfo?.totalCount ?? data.length;
      // A directory that has just come is told of before it can be asked for.
      if (!total && parent === '' && !keyword) {
        setTimeout(() => { level.asked.delete(page); if (this.levels.get(level.key) === level) this.#ask(level, page); }, EMPTY_MS);
        return;
      }
      level.total = total;
      data.forEach((item, i) => { level.items[page * PAGE + i] = item; });
      level.rows.length = Math.min(level.rows.length, level.total);
      for (let i = page * PAGE; i < (page + 1) * PAGE; i++) delete level.rows[i];
    } catch (error) {
      level.error = error;
    }
    this.refresh();
  }

  #draw() {
    const from = Math.max(0, Math.floor(this.view.scrollTop / ROW_PX) - MARGIN_ROWS);
    const to = Math.min(this.rows.length, Math.ceil((this.view.scrollTop + this.view.clientHeight) / ROW_PX) + MARGIN_ROWS);
    const inSight = this.rows.slice(from, to);
    this.space.replaceChildren(...inSight.map((row, i) => this.#row(row, from + i)));
    for (const { waits, page } of inSight) if (waits) this.#ask(waits, page);
    const active = this.rows.find((r) => r.id === this.active);
    if (active) this.view.setAttribute('aria-activedescendant', `row-${active.id}`);
    else this.view.removeAttribute('aria-activedescendant');
  }

  #row(row, at) {
    const { device, channel } = row;
    const folds = row.level === 1 || row.node;
    const shown = channel && this.isShown(device.id, channel.index);
    const state = t(row.online ? 'status.online' : 'status.offline');
    const el = h('div', {
      id: `row-${row.id}`, role: 'treeitem', class: ['row', `level-${row.level}`, row.online ? 'on' : 'off', shown && 'shown', row.id === this.active && 'active'].filter(Boolean).join(' '),
      aria: { level: row.level, selected: row.id === this.active, ...(folds && { expanded: row.open }) },
      data: { testid: channel ? `channel-${row.id}` : row.node ? `node-${row.id}` : row.level === 1 ? `device-${row.id}` : undefined, status: row.online ? 'online' : 'offline' },
      title: channel ? `${channel.name} · ${state}` : row.node ? `${row.node.name} · ${row.node.id}` : `${label(device)} · ${device.id} · ${state}`,
      onclick: (e) => this.#act(row, e.timeStamp),
    });
    el.style.top = `${at * ROW_PX}px`;
    if (row.level > 1) el.style.paddingLeft = `${8 + INDENT_PX * (row.level - 1)}px`;
    if (row.waits) el.append(h('span', { class: 'dim' }, '…'));
    else if (row.error) el.append(icon('warn'), h('span', { class: 'row-name', title: row.error.message }, row.error.message));
    else if (row.node) el.append(h('span', { class: `twist${row.open ? ' open' : ''}` }, icon('chevron')), h('span', { class: 'row-name' }, row.node.name || row.node.id));
    else if (row.none) el.append(h('span', { class: 'dim' }, t('tree.nochannels')));
    else if (channel) el.append(h('span', { class: 'dot' }), icon('camera'), h('span', { class: 'row-name' }, channel.name || String(channel.index)), h('span', { class: 'row-mark' }));
    else {
      el.append(h('span', { class: `twist${row.open ? ' open' : ''}` }, icon('chevron')), h('span', { class: 'dot' }), h('span', { class: 'row-name' }, label(device)),
        h('span', { class: 'dim num row-count' }, String(device.channelCount ?? device.channels?.length ?? 0)),
        h('button', { class: 'quiet row-open', tabIndex: -1, title: t('panel.device'), aria: { label: t('panel.device') }, data: { testid: `open-${row.id}` }, onclick: (e) => { e.stopPropagation(); this.active = row.id; this.onDevice(device, true); this.refresh(); } }, icon('gear')));
    }
    return el;
  }

  #act(row, clickedAt) {
    this.active = row.id;
    if (row.channel) this.onPlay(targetOf(row), clickedAt);
    else if (row.level === 1) { this.#toggle(row, !row.open); this.onDevice(row.device, false); }
    else if (row.node) this.#toggle(row, !row.open);
    else if (row.error) { for (const [key, level] of this.levels) if (level.error) this.levels.delete(key); }
    this.refresh();
  }

  #toggle(row, open) {
    if (open) this.open.add(row.id);
    else this.open.delete(row.id);
    this.refresh();
  }

  /** Keys of the tree pattern (WAI-ARIA Authoring Practices). */
  #key(event) {
    const at = this.rows.findIndex((r) => r.id === this.active);
    const row = this.rows[at];
    const page = Math.max(1, Math.floor(this.view.clientHeight / ROW_PX) - 1);
    const parent = row && this.rows.findLastIndex((r, i) => i < at && r.level < row.level);
    const folds = row && (row.level === 1 || row.node);
    switch (event.key) {
      case 'ArrowDown': this.#goTo(at + 1); break;
      case 'ArrowUp': this.#goTo(at < 0 ? 0 : at - 1); break;
      case 'PageDown': this.#goTo(at + page); break;
      case 'PageUp': this.#goTo(at - page); break;
      case 'Home': this.#goTo(0); break;
      case 'End': this.#goTo(this.rows.length - 1); break;
      case 'ArrowRight': if (folds) { if (row.open) this.#goTo(at + 1); else this.#toggle(row, true); } break;
      case 'ArrowLeft': if (folds && row.open) this.#toggle(row, false); else if (row && parent >= 0) this.#goTo(parent); break;
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

/** Whether a device's channels are asked for as they are looked at: where they are many, or hang on nodes. */
const isLazy = (device) => Number(device.channelCount) > LAZY_FROM || Number(device.nodeCount) > 0;

/** What a device's tree has; another number means that its levels are to be asked for anew. */
const sizeOf = (device) => `${device.channelCount} ${device.nodeCount}`;

export const label = (device) => device.name || device.id.replace(/^PU_/, '');

function targetOf({ device, channel }) {
  return { puid: device.id, index: channel.index, name: channel.name || `${label(device)} / ${channel.index}`, deviceName: label(device) };
}

function matches(query, ...texts) { return texts.some((x) => String(x ?? '').toLowerCase().includes(query)); }
