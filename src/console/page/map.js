// Where devices are: points on a plain grid with a scale, by the longitude and latitude of the directory and by positions as
// they come. Nothing is fetched from elsewhere: no tiles.
//
// Lengths are right near the middle of the picture: degrees of longitude are narrowed by the cosine of its latitude. A device
// that moves draws its last places behind it. Only points in sight are in the document, up to MARKERS_MAX.

import { call, gantry, watch } from './api.js';
import { failure, h, icon, svg } from './dom.js';
import { lang, onLang, t } from './i18n.js';

const METRES_PER_DEGREE = 111_320;
/** Points in the document; where more are in sight, the note says so. */
const MARKERS_MAX = 400;
/** Places of a track. */
const TRACK_MAX = 120;
/** Devices whose positions are subscribed to: those with the smallest distance from the middle come first. */
const FOLLOWED_MAX = 500;
/** Seconds between two positions of a device that is followed. */
const FOLLOW_S = 2;
/** Pixels a degree: the whole earth on a small screen, and one metre on forty pixels. */
const SCALE_MIN = 1;
const SCALE_MAX = METRES_PER_DEGREE * 40;
const ZOOM_STEP = 1.6;
const PAN_PX = 80;
/** Lines of the grid stand this far from each other at least. */
const GRID_PX_MIN = 90;

export class MapView {
  /** `hooks`: onPlay(target), onDevice(target), devices(): the list with channels. */
  constructor(el, hooks) {
    this.el = el;
    this.hooks = hooks;
    this.centre = { lng: 104, lat: 35 };
    this.scale = 20;
    this.fitted = false;
    /** By device id, or device id and index of a channel with `/` between: the last position that came, and the places before it. */
    this.moved = new Map();
    this.chosen = '';
    const button = (key, sign, action) => h('button', { title: t(key), data: { key }, aria: { label: t(key) }, onclick: action }, sign);
    el.append(
      this.plane = h('div', { class: 'map-plane', tabIndex: 0, role: 'application', data: { testid: 'map-plane' },
        onpointerdown: (e) => this.#grab(e), onwheel: (e) => this.#wheel(e), onkeydown: (e) => this.#key(e) },
      this.drawing = svg('svg', { class: 'map-drawing', 'aria-hidden': 'true', preserveAspectRatio: 'none' }), this.markers = h('div', { class: 'map-markers' })),
      h('div', { class: 'map-tools' }, button('map.in', '+', () => this.zoom(ZOOM_STEP)), button('map.out', '−', () => this.zoom(1 / ZOOM_STEP)), button('map.fit', icon('full'), () => this.fit())),
      this.scaleBar = h('div', { class: 'map-scale num', data: { testid: 'map-scale' } }),
      this.note = h('div', { class: 'map-note', data: { testid: 'map-note' } }),
      this.card = h('div', { class: 'map-card', hidden: true, data: { testid: 'map-card' } }));
    new ResizeObserver(() => this.draw()).observe(el);
    onLang(() => {
      for (const b of el.querySelectorAll('[data-key]')) { b.title = t(b.dataset.key); b.setAttribute('aria-label', b.title); }
      this.draw();
      this.#drawCard();
    });
  }

  start() { this.socket = watch('gpsdata', { onEvent: (m) => this.#position(m), hello: () => this.#wanted() }); }

  stop() {
    this.socket?.stop();
    this.moved.clear();
    this.fitted = false;
  }

  /** The list of devices has changed. */
  update() {
    this.socket?.send(this.#wanted());
    if (!this.fitted && !this.el.hidden) this.fit();
    this.draw();
  }

  #wanted() {
    return { badd: true, puid: this.hooks.devices().filter((d) => Number(d.status) === 1).slice(0, FOLLOWED_MAX).map((d) => d.id) };
  }

  #position({ devID, devId, subDevIdx, channelId, lng, lat, speed, angle, time }) {
    const at = this.#whose(devID ?? devId, subDevIdx);
    if (!at || !Number.isFinite(lng) || !Number.isFinite(lat)) return;
    const { key } = at;
    const before = this.moved.get(key);
    const track = before ? [...before.track, { lng: before.lng, lat: before.lat }].slice(-TRACK_MAX) : [];
    this.moved.set(key, { ...at, channelId, lng, lat, speed, angle, time, track });
    if (this.el.hidden) return;
    if (this.chosen === key) this.#keepInSight({ lng, lat });
    this.draw();
    if (this.chosen === key) this.#drawCard();
  }

  /** Whose a position is: a device's, or a channel's of its own. The one channel of a camera is the camera. */
  #whose(id, index = -1) {
    if (!id) return null;
    const devices = this.hooks.devices();
    const device = devices.find((d) => d.id === id);
    if (!device) {
      // Told by the code of a channel alone.
      const code = id.replace(/^PU_/, '');
      const owner = devices.find((d) => d.channels?.some((c) => c.id === code));
      return owner ? this.#whose(owner.id, owner.channels.find((c) => c.id === code).index) : null;
    }
    const single = Number(device.channelCount ?? device.channels?.length ?? 0) <= 1;
    return index < 0 || single ? { key: id, puid: id, index: -1 } : { key: `${id}/${index}`, puid: id, index };
  }

  /** One point a channel that has a place of its own, one for a device otherwise. What came last is where each of them is. */
  points() {
    const out = [];
    const ofChannels = new Map();
    for (const place of this.moved.values()) if (place.index >= 0) ofChannels.set(place.puid, [...(ofChannels.get(place.puid) ?? []), place]);
    for (const device of this.hooks.devices()) {
      const moved = this.moved.get(device.id);
      const online = Number(device.status) === 1;
      const name = device.name || device.id;
      const going = ofChannels.get(device.id) ?? [];
      const channels = device.channels ?? [];
      for (const place of going) {
        const channel = channels.find((c) => c.index === place.index) ?? { index: place.index, name: place.channelId };
        out.push({ id: place.key, puid: device.id, name: channel.name || name, online: online && Number(channel.status ?? 1) === 1, device, channel, ...place });
      }
      if (moved) { out.push({ id: device.id, puid: device.id, name, online, device, channel: channels[0], ...moved }); continue; }
      const placed = channels.filter((c) => c.gps && !going.some((place) => place.index === c.index));
      for (const channel of placed) out.push({ id: placed.length + going.length > 1 ? `${device.id}/${channel.index}` : device.id, puid: device.id, name: channel.name || name, online: online && Number(channel.status ?? 1) === 1, device, channel, lng: channel.gps.lng, lat: channel.gps.lat });
      if (!placed.length && !going.length && device.gps) out.push({ id: device.id, puid: device.id, name, online, device, channel: channels[0], lng: device.gps.lng, lat: device.gps.lat });
    }
    return out;
  }

  // ---- moving about ----

  fit() {
    const points = this.points();
    if (!points.length) return this.draw();
    this.fitted = true;
    const span = (values) => [Math.min(...values), Math.max(...values)];
    const [west, east] = span(points.map((p) => p.lng));
    const [south, north] = span(points.map((p) => p.lat));
    this.centre = { lng: (west + east) / 2, lat: (south + north) / 2 };
    const { width, height } = this.#size();
    const wide = Math.max((east - west) * this.#narrowing(), 0.002);
    const high = Math.max(north - south, 0.002);
    this.scale = clamp(Math.min((width * 0.7) / wide, (height * 0.7) / high), SCALE_MIN, SCALE_MAX);
    this.draw();
  }

  /** Brings a device or a place into the middle. */
  locate({ puid, index, lng, lat }) {
    const point = this.points().find((p) => p.puid === puid && (index === undefined || index < 0 || !p.channel || p.channel.index === index)) ?? this.points().find((p) => p.puid === puid);
    const at = point ?? (lng || lat ? { lng, lat } : null);
    if (!at) return false;
    this.fitted = true;
    this.centre = { lng: at.lng, lat: at.lat };
    this.scale = Math.max(this.scale, METRES_PER_DEGREE / 4);
    this.chosen = point?.id ?? '';
    this.draw();
    this.#drawCard();
    return true;
  }

  #keepInSight(at) {
    const { width, height } = this.#size();
    const { x, y } = this.#place(at);
    if (x < 0 || y < 0 || x > width || y > height) this.centre = { ...at };
  }

  zoom(factor, x, y) {
    const { width, height } = this.#size();
    const dx = (x ?? width / 2) - width / 2;
    const dy = (y ?? height / 2) - height / 2;
    const before = this.#degrees(dx, dy);
    this.scale = clamp(this.scale * factor, SCALE_MIN, SCALE_MAX);
    const after = this.#degrees(dx, dy);
    this.#moveTo(this.centre.lng + before.lng - after.lng, this.centre.lat + before.lat - after.lat);
  }

  #moveTo(lng, lat) {
    this.centre = { lng: clamp(lng, -180, 180), lat: clamp(lat, -85, 85) };
    this.draw();
  }

  #pan(dx, dy) {
    const d = this.#degrees(dx, dy);
    this.#moveTo(this.centre.lng + d.lng, this.centre.lat + d.lat);
  }

  #grab(event) {
    if (event.button !== 0 || event.target.closest('button')) return;
    let { clientX: x, clientY: y } = event;
    this.plane.setPointerCapture(event.pointerId);
    this.plane.onpointermove = (e) => { this.#pan(x - e.clientX, y - e.clientY); x = e.clientX; y = e.clientY; };
    this.plane.onpointerup = this.plane.onpointercancel = () => { this.plane.onpointermove = null; };
  }

  #wheel(event) {
    event.preventDefault();
    const box = this.plane.getBoundingClientRect();
    this.zoom(event.deltaY < 0 ? ZOOM_STEP : 1 / ZOOM_STEP, event.clientX - box.left, event.clientY - box.top);
  }

  #key(event) {
    const keys = { ArrowLeft: () => this.#pan(-PAN_PX, 0), ArrowRight: () => this.#pan(PAN_PX, 0), ArrowUp: () => this.#pan(0, -PAN_PX), ArrowDown: () => this.#pan(0, PAN_PX),
      '+': () => this.zoom(ZOOM_STEP), '=': () => this.zoom(ZOOM_STEP), '-': () => this.zoom(1 / ZOOM_STEP), 0: () => this.fit(), Escape: () => this.#choose('') };
    const action = keys[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  }

  #choose(id) {
    this.chosen = id;
    this.draw();
    this.#drawCard();
  }

  // ---- display ----

  #size() { return { width: this.plane.clientWidth || 1, height: this.plane.clientHeight || 1 }; }
  #narrowing() { return Math.max(0.05, Math.cos((this.centre.lat * Math.PI) / 180)); }
  #degrees(dx, dy) { return { lng: dx / this.scale / this.#narrowing(), lat: -dy / this.scale }; }

  #place({ lng, lat }) {
    const { width, height } = this.#size();
    return { x: width / 2 + (lng - this.centre.lng) * this.#narrowing() * this.scale, y: height / 2 - (lat - this.centre.lat) * this.scale };
  }

  draw() {
    if (this.el.hidden) return;
    const { width, height } = this.#size();
    const points = this.points();
    const inSight = points.map((p) => ({ ...p, ...this.#place(p) })).filter((p) => p.x > -40 && p.y > -40 && p.x < width + 40 && p.y < height + 40);
    const drawn = inSight.slice(0, MARKERS_MAX);
    this.drawing.setAttribute('viewBox', `0 0 ${width} ${height}`);
    this.drawing.replaceChildren(...this.#grid(width, height), ...drawn.filter((p) => p.track?.length).map((p) => this.#trackOf(p)));
    this.#drawMarkers(drawn);
    this.#drawScale();
    const without = this.hooks.devices().length - new Set(points.map((p) => p.puid)).size;
    this.note.textContent = [points.length ? '' : t('map.none'), points.length && without > 0 ? t('map.without', { n: without }) : '', inSight.length > drawn.length ? t('map.more', { n: inSight.length - drawn.length }) : ''].filter(Boolean).join(' · ');
    this.note.hidden = !this.note.textContent;
  }

  /** Points keep their elements, so that one that has the focus keeps it. */
  #drawMarkers(drawn) {
    const old = new Map([...this.markers.children].map((m) => [m.dataset.id, m]));
    for (const p of drawn) {
      const el = old.get(p.id) ?? h('button', { class: 'marker', data: { id: p.id, testid: 'marker' }, onclick: () => this.#choose(p.id), ondblclick: () => this.#play(p.id) }, h('span', { class: 'marker-dot' }), h('span', { class: 'marker-name' }));
      old.delete(p.id);
      el.className = `marker ${p.online ? 'on' : 'off'}${p.id === this.chosen ? ' chosen' : ''}${p.track?.length ? ' moving' : ''}`;
      el.lastChild.textContent = p.name;
      el.title = `${p.name} · ${t(p.online ? 'status.online' : 'status.offline')}`;
      el.style.transform = `translate(${p.x.toFixed(1)}px, ${p.y.toFixed(1)}px)`;
      if (!el.parentNode) this.markers.append(el);
    }
    for (const el of old.values()) el.remove();
  }

  #trackOf(p) {
    const line = [...p.track, p].map((q) => this.#place(q)).map((q) => `${q.x.toFixed(1)},${q.y.toFixed(1)}`).join(' ');
    return svg('polyline', { class: 'track', points: line, 'data-testid': 'track' });
  }

  #grid(width, height) {
    const out = [];
    const step = niceStep(GRID_PX_MIN / this.scale);
    const digits = Math.max(0, Math.ceil(-Math.log10(step)));
    const { lng, lat } = this.centre;
    const wide = width / 2 / this.scale / this.#narrowing();
    const high = height / 2 / this.scale;
    const line = (x1, y1, x2, y2, label, x, y) => out.push(svg('line', { x1, y1, x2, y2 }), svg('text', { x, y }, label));
    for (let n = Math.ceil((lng - wide) / step); n <= (lng + wide) / step; n++) {
      const x = this.#place({ lng: n * step, lat }).x;
      line(x, 0, x, height, degrees(n * step, digits, 'E', 'W'), x + 4, 12);
    }
    for (let n = Math.ceil((lat - high) / step); n <= (lat + high) / step; n++) {
      const y = this.#place({ lng, lat: n * step }).y;
      line(0, y, width, y, degrees(n * step, digits, 'N', 'S'), 4, y - 4);
    }
    return out;
  }

  #drawScale() {
    const metres = niceStep((80 / this.scale) * METRES_PER_DEGREE);
    const px = (metres / METRES_PER_DEGREE) * this.scale;
    this.scaleBar.textContent = metres >= 1000 ? `${metres / 1000} km` : `${metres} m`;
    this.scaleBar.style.width = `${px.toFixed(0)}px`;
  }

  #targetOf(p) { return { puid: p.puid, index: p.channel?.index ?? 0, name: p.channel?.name || p.name, deviceName: p.device.name || p.puid }; }

  #play(id) {
    const p = this.points().find((x) => x.id === id);
    if (p) this.hooks.onPlay(this.#targetOf(p));
  }

  #drawCard() {
    const p = this.points().find((x) => x.id === this.chosen);
    this.card.hidden = !p;
    if (!p) return;
    const rows = [['map.place', `${p.lng.toFixed(5)}, ${p.lat.toFixed(5)}`], ['map.speed', Number.isFinite(p.speed) ? `${p.speed.toFixed(0)} km/h` : ''], ['map.course', Number.isFinite(p.angle) ? `${p.angle.toFixed(0)}°` : ''],
      ['map.time', p.time ? new Date(p.time * 1000).toLocaleTimeString(lang() === 'zh' ? 'zh-CN' : 'en-GB') : '']];
    const result = this.told && this.toldOf === p.id ? this.told : h('div', { role: 'status' });
    this.told = result;
    this.toldOf = p.id;
    this.card.replaceChildren(h('div', { class: 'line' }, h('b', {}, p.name), h('span', { class: 'grow' }), h('button', { class: 'quiet', title: t('panel.close'), aria: { label: t('panel.close') }, onclick: () => this.#choose('') }, icon('close'))),
      h('dl', { class: 'num' }, rows.filter(([, v]) => v).map(([key, v]) => [h('dt', {}, t(key)), h('dd', {}, v)])),
      h('div', { class: 'line' }, h('button', { data: { testid: 'map-play' }, onclick: () => this.#play(p.id) }, t('map.play')), h('button', { onclick: () => this.hooks.onDevice(this.#targetOf(p)) }, t('panel.device')),
        h('button', { disabled: !p.online, data: { testid: 'map-ask' }, onclick: async () => {
          try { this.#position((await call('GET', `/pu/gpsdata/${encodeURIComponent(p.puid)}`)).data); } catch (error) { result.replaceChildren(failure(error)); }
        } }, t('map.ask')),
        h('button', { disabled: !p.online, title: t('map.follow.hint'), data: { testid: 'map-follow' }, onclick: async () => {
          try {
            const own = p.channel && Number(p.device.channelCount ?? 0) > 1 && p.id !== p.puid ? `?channel=${p.channel.index}` : '';
            await gantry('PUT', `/devices/${encodeURIComponent(p.puid)}/subscriptions/position${own}`, { interval: FOLLOW_S });
            result.replaceChildren(h('p', { class: 'done' }, t('map.followed', { s: FOLLOW_S })));
          } catch (error) { result.replaceChildren(failure(error)); }
        } }, t('map.follow'))), result);
  }
}

const clamp = (x, min, max) => Math.min(max, Math.max(min, x));

/** 1, 2 or 5 times a power of ten, at least `x`. */
function niceStep(x) {
  const power = 10 ** Math.floor(Math.log10(x));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= x * 0.999);
}

function degrees(value, digits, positive, negative) {
  return `${Math.abs(value).toFixed(digits)}° ${value < 0 ? negative : positive}`;
}
