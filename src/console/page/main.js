// Where the page starts: signing in, then the tree, the wall and the panel, and what ties them together.

import { Alarms } from './alarms.js';
import * as api from './api.js';
import { Certificates } from './certificates.js';
import { DevicePanel } from './device.js';
import { $, bitRate, h, setText } from './dom.js';
import { lang, onLang, setLang, t, translatePage } from './i18n.js';
import { MapView } from './map.js';
import { Notices } from './notices.js';
import { Panel } from './panel.js';
import { Playback } from './playback.js';
import { Ptz } from './ptz.js';
import { Spaces } from './spaces.js';
import { TRANSPORTS } from './tile.js';
import { Tree, label } from './tree.js';
import { LAYOUTS, Wall } from './wall.js';

const TRANSPORT_KEY = 'gantry.transport';
/** Events come in bursts when a node starts; the list is loaded again at most this often. */
const RELOAD_MS_MIN = 2000;

let app = null;

class Console {
  constructor() {
    /** What was chosen last, in the list or on the wall: `{puid, index, name, deviceName}`. */
    this.chosen = null;
    this.wall = new Wall($('#wall'), $('#layouts'), {
      onSelect: (tile) => { if (tile.target) this.chosen = tile.target; this.panel?.refresh(); },
      onInfo: () => this.panel.show('details'),
      onChange: () => { this.tree?.refresh(); this.panel?.refresh(); this.bar(); },
    });
    this.tree = new Tree($('#tree'), {
      onPlay: (target, clickedAt) => this.#chooseChannel(target, clickedAt),
      onDevice: (device, open) => this.#chooseDevice(device, open),
      isShown: (puid, index) => this.wall.tiles.some((x) => x.target?.puid === puid && x.target.index === index),
    });
    this.records = new Playback($('#records'));
    this.map = new MapView($('#map'), { devices: () => this.tree.devices, onPlay: (target) => this.#playLive(target), onDevice: (target) => { this.chosen = target; this.panel.show('device'); } });
    this.certificates = new Certificates($('#certificates'), { devices: () => this.tree.devices });
    this.notices = new Notices({ onLocate: (n) => this.#locate(n), nameOf: (puid, index) => this.#nameOf(puid, index), onChange: () => this.alarms?.drawTabs() });
    this.alarms = new Alarms({ onCount: (n) => this.#badge(n), onPlay: (alarm) => this.#playAlarm(alarm), onLocate: (alarm) => this.#locate(alarm) }, this.notices);
    this.panel = new Panel($('#panel'), {
      selected: () => this.wall.selected,
      subject: () => this.#subject(),
      parts: { ptz: new Ptz(), device: new DevicePanel({ alarms: this.alarms, notices: this.notices }), alarms: this.alarms },
      onMode: (mode) => { for (const b of document.querySelectorAll('[data-panel]')) b.setAttribute('aria-pressed', b.dataset.panel === mode); },
    });
    this.spaces = new Spaces($('#spaces'), { live: $('#wall'), records: $('#records'), map: $('#map'), certificates: $('#certificates') }, (name) => this.#shown(name));
    this.eventsUp = false;
    this.#controls();
    onLang(() => { this.#transports(); this.bar(); });
    setInterval(() => this.bar(), 1000);
  }

  start() {
    this.online = api.watch('event/onlinestatus', { onEvent: (event) => this.#event(event), onState: (up) => this.#eventsState(up) });
    this.load();
    this.wall.restore();
    this.alarms.start();
    this.notices.start();
    this.map.start();
    this.spaces.restore();
    this.bar();
  }

  stop() {
    this.online?.stop();
    this.alarms.stop();
    this.notices.stop();
    this.map.stop();
    this.records.stop();
    this.certificates.clear();
    this.wall.closeAll();
    this.panel.show('');
    this.tree.setDevices([]);
    this.leaving = false;
  }

  // ---- what is chosen and shown ----

  #chooseChannel(target, clickedAt) {
    this.chosen = target;
    if (this.spaces.name === 'records') this.records.show(target);
    else if (this.spaces.name === 'map') this.map.locate(target);
    else if (this.spaces.name === 'certificates') this.#playLive(target, clickedAt);
    else this.wall.play(target, clickedAt);
    this.panel.refresh();
  }

  #chooseDevice(device, open) {
    this.chosen = { puid: device.id, deviceName: label(device), name: label(device) };
    if (this.spaces.name === 'map') this.map.locate({ puid: device.id });
    if (open) this.panel.show('device');
    else this.panel.refresh();
  }

  /** What was chosen, as the list has it now; without an index for a device whose channel nobody chose. */
  #subject() {
    const { chosen } = this;
    if (!chosen) return null;
    const device = this.tree.find(chosen.puid);
    const index = chosen.index ?? (device?.channels?.length === 1 ? device.channels[0].index : undefined);
    const channel = device?.channels?.find((c) => c.index === index);
    return { ...chosen, index, channel, name: channel?.name || chosen.name, online: Number(device?.status) === 1, channels: device?.channelCount ?? device?.channels?.length ?? 0 };
  }

  #playLive(target, clickedAt = performance.now()) {
    this.spaces.show('live');
    this.chosen = target;
    this.wall.play(target, clickedAt);
  }

  #playAlarm(alarm) {
    const device = this.tree.find(alarm.puid);
    const index = alarm.index >= 0 ? alarm.index : device?.channels?.[0]?.index ?? 0;
    const channel = device?.channels?.find((c) => c.index === index);
    this.#playLive({ puid: alarm.puid, index, name: channel?.name || alarm.device, deviceName: alarm.device });
  }

  #locate({ puid, index, lng, lat }) {
    this.spaces.show('map');
    this.map.locate({ puid, index, lng, lat });
  }

  /** What the list calls a channel, or the device where `index` is below 0. */
  #nameOf(puid, index) {
    const device = this.tree.find(puid);
    const name = device ? label(device) : puid;
    const channel = device?.channels?.find((c) => c.index === index);
    return index < 0 || channel?.name === name ? name : `${name} / ${channel?.name ?? index}`;
  }

  #badge(n) {
    const el = $('#alarm-count');
    el.hidden = n === 0;
    setText(el, n > 99 ? '99+' : String(n));
  }

  #shown(name) {
    $('#live-tools').hidden = name !== 'live';
    if (name === 'records') {
      this.records.start();
      const subject = this.#subject();
      if (subject?.index !== undefined) this.records.show(subject);
    } else this.records.stop();
    if (name === 'map') this.map.update();
    if (name === 'certificates') this.certificates.start();
    else this.certificates.stop();
  }

  async load() {
    try {
      this.tree.setDevices(await api.devices());
      this.map.update();
      this.certificates.update();
      this.panel.refresh();
    } catch (error) {
      if (error.code !== api.Code.BadToken) this.tree.fail(error.message);
    }
    this.bar();
  }

  #event({ type, status, device }) {
    if (type === 'CU' || !device?.id) return;
    const before = this.tree.devices.find((d) => d.id === device.id);
    this.tree.update({ ...device, channels: device.channels?.length ? device.channels : before?.channels, status });
    if (Number(status) === 1) this.wall.deviceOnline(device.id);
    this.map.update();
    this.certificates.update();
    this.panel.refresh();
    // The directory of a device comes a little after its registration, and no event tells of it.
    if (!device.channels?.length) this.#reloadSoon();
    this.bar();
  }

  #reloadSoon() {
    this.reload ??= setTimeout(() => { this.reload = null; this.load(); }, RELOAD_MS_MIN);
  }

  #eventsState(up) {
    if (up && this.wasLost) this.load();
    this.wasLost = !up;
    this.eventsUp = up;
    this.bar();
  }

  bar() {
    if (!this.tree) return;
    const { online, total } = this.tree.counts();
    const playing = this.wall.tiles.filter((x) => x.state === 'playing');
    const rate = playing.reduce((sum, x) => sum + (x.stats.bitsPerSecond || 0), 0);
    $('#bar-events').classList.toggle('lost', !this.eventsUp);
    setText($('#bar-events'), t(this.eventsUp ? 'bar.events' : 'bar.events.lost'));
    setText($('#bar-devices'), t('bar.devices', { online, total }));
    setText($('#tree-count'), total ? t('tree.count', { online, total }) : '');
    setText($('#bar-views'), t('bar.views', { n: playing.length }));
    setText($('#bar-rate'), t('bar.rate', { rate: bitRate(rate) }));
    setText($('#bar-clock'), new Date().toLocaleTimeString(lang() === 'zh' ? 'zh-CN' : 'en-GB'));
  }

  #controls() {
    const { wall, tree, panel } = this;
    const filter = () => tree.filter($('#search').value, $('#online-only').checked);
    $('#search').oninput = filter;
    $('#online-only').onchange = filter;
    $('#refresh').onclick = () => { tree.forget(); this.load(); };
    for (const b of document.querySelectorAll('[data-panel]')) b.onclick = () => panel.toggle(b.dataset.panel);
    $('#close-all').onclick = () => wall.closeAll();
    $('#all-stats').onclick = ({ currentTarget }) => {
      wall.showStats(!wall.statsOnAll);
      currentTarget.setAttribute('aria-pressed', wall.statsOnAll);
    };
    $('#help').onclick = () => showKeys();
    $('#logout').onclick = () => { wall.closeAll(); this.leaving = true; api.logout().catch(() => {}); };
    $('#menu').onclick = ({ currentTarget }) => {
      const open = $('#app').classList.toggle('side-open');
      currentTarget.setAttribute('aria-expanded', open);
    };
    wall.el.addEventListener('click', () => $('#app').classList.remove('side-open'));
    const stored = localStorage.getItem(TRANSPORT_KEY);
    wall.transport = TRANSPORTS.includes(stored) ? stored : 'auto';
    $('#transport').onchange = ({ target }) => {
      wall.transport = target.value;
      localStorage.setItem(TRANSPORT_KEY, target.value);
    };
    this.#transports();
    document.addEventListener('keydown', (event) => this.#key(event));
  }

  #transports() {
    $('#transport').replaceChildren(...['auto', ...TRANSPORTS].map((x) => h('option', { value: x, selected: x === this.wall.transport }, t(`transport.${x}`))));
  }

  #key(event) {
    if ($('#app').hidden || event.ctrlKey || event.metaKey || event.altKey || $('dialog[open]')) return;
    const typing = event.target.closest('input, select, textarea');
    if (typing) {
      if (event.key === 'Escape') typing.blur();
      return;
    }
    const { wall, panel } = this;
    const tile = wall.selected;
    const everywhere = {
      '/': () => { $('#app').classList.add('side-open'); $('#search').focus(); },
      '?': () => showKeys(),
      i: () => panel.toggle('details'), d: () => panel.toggle('device'), a: () => panel.toggle('alarms'),
      p: () => { panel.toggle('ptz'); $('[data-operate="up"]')?.focus(); },
      l: () => this.spaces.show('live'), t: () => this.spaces.show('records'), k: () => this.spaces.show('map'), c: () => this.spaces.show('certificates'),
      Escape: () => panel.show(''),
    };
    const live = {
      m: () => tile.toggleSound(), s: () => tile.toggleStats(), f: () => tile.full(), r: () => tile.retry(),
      Delete: () => tile.close(), Backspace: () => tile.close(),
      ArrowLeft: () => wall.move(-1, 0), ArrowRight: () => wall.move(1, 0), ArrowUp: () => wall.move(0, -1), ArrowDown: () => wall.move(0, 1),
      ...Object.fromEntries(LAYOUTS.map((n, i) => [String(i + 1), () => wall.setLayout(n)])),
    };
    const own = { live, records: event.target.closest('button, summary, a') ? {} : { ' ': () => this.records.toggle() }, map: {}, certificates: {} }[this.spaces.name];
    const keys = { ...everywhere, ...own };
    const action = keys[event.key] ?? keys[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  }
}

function showKeys() {
  const rows = [['/', 'search'], ['1 – 4', 'layout'], ['← ↑ ↓ →', 'move'], ['↵', 'tree'], ['M', 'sound'], ['S', 'stats'], ['I', 'info'], ['P', 'ptz'], ['D', 'device'], ['A', 'alarms'], ['L · T · K · C', 'spaces'], ['␣', 'pause'], ['F', 'full'], ['R', 'retry'], ['Del', 'close'], ['?', 'help']];
  const dialog = $('#keys');
  dialog.replaceChildren(
    h('h2', {}, t('help.title')),
    h('dl', {}, rows.flatMap(([key, name]) => [h('dt', {}, h('kbd', {}, key)), h('dd', {}, t(`help.${name}`))])),
    h('form', { method: 'dialog' }, h('button', {}, t('panel.close'))));
  dialog.showModal();
}

// ---- signing in ----

function showLogin(notice = '') {
  $('#app').hidden = true;
  $('#login').hidden = false;
  loginNotice(notice);
  $('#login-password').value = '';
  ($('#login-user').value ? $('#login-password') : $('#login-user')).focus();
}

function loginNotice(text) {
  $('#login-error').hidden = !text;
  $('#login-error').textContent = text;
}

function showApp() {
  $('#login').hidden = true;
  $('#app').hidden = false;
  $('#user').textContent = api.user();
  app ??= new Console();
  app.start();
}

async function signIn(event) {
  event.preventDefault();
  const submit = $('#login-submit');
  submit.disabled = true;
  submit.textContent = t('login.busy');
  loginNotice('');
  try {
    await api.login($('#login-user').value.trim(), $('#login-password').value);
    showApp();
  } catch (error) {
    const wrong = [api.Code.BadPassword, api.Code.NotFound, api.Code.BadToken].includes(error.code);
    const key = wrong ? 'login.wrong' : [api.Code.Forbidden, api.Code.Busy, api.Code.TooManyTries].includes(error.code) ? 'login.refused' : 'login.failed';
    loginNotice(t(key, { msg: error.message }));
    $('#login-password').select();
  } finally {
    submit.disabled = false;
    submit.textContent = t('login.submit');
  }
}

async function boot() {
  translatePage();
  const markLang = () => {
    for (const b of document.querySelectorAll('[data-lang]')) b.setAttribute('aria-pressed', b.dataset.lang === lang());
  };
  for (const b of document.querySelectorAll('[data-lang]')) b.onclick = () => setLang(b.dataset.lang);
  onLang(markLang);
  markLang();
  $('#login-form').addEventListener('submit', signIn);
  api.onSignedOut(() => {
    const expired = app && !app.leaving;
    app?.stop();
    showLogin(expired ? t('login.expired') : '');
  });
  // Sessions end at once instead of when the node misses the browser.
  addEventListener('pagehide', () => { for (const tile of app?.wall.tiles ?? []) tile.player?.stop(); });

  window.gantry = {
    /** One object a view: state, transport, firstFrameMs, framesDecoded, width, height, audioBytes, … */
    tiles: () => app?.wall.tiles.map((x) => x.snapshot()) ?? [],
    /** The same, with counters of this moment. */
    sample: async () => { await Promise.all(app?.wall.tiles.map((x) => x.sample()) ?? []); return window.gantry.tiles(); },
    devices: () => app?.tree.devices ?? [],
    closeAll: () => app?.wall.closeAll(),
  };

  if (!api.isSignedIn()) return showLogin();
  try {
    await api.resume();
  } catch (error) {
    if (error.code === api.Code.BadToken) return showLogin();
  }
  showApp();
}

boot();
