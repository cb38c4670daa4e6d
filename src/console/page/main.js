// Where the page starts: signing in, then the tree, the wall and the panel, and what ties them together.

import * as api from './api.js';
import { $, bitRate, h, setText } from './dom.js';
import { lang, onLang, setLang, t, translatePage } from './i18n.js';
import { Panel } from './panel.js';
import { TRANSPORTS } from './tile.js';
import { Tree } from './tree.js';
import { LAYOUTS, Wall } from './wall.js';

const TRANSPORT_KEY = 'gantry.transport';
/** Events come in bursts when a node starts; the list is loaded again at most this often. */
const RELOAD_MS_MIN = 2000;

let app = null;

class Console {
  constructor() {
    this.wall = new Wall($('#wall'), $('#layouts'), {
      onSelect: () => this.panel?.refresh(),
      onInfo: () => this.panel.show('details'),
      onChange: () => { this.tree?.refresh(); this.panel?.refresh(); this.bar(); },
    });
    this.tree = new Tree($('#tree'), {
      onPlay: (target, clickedAt) => this.wall.play(target, clickedAt),
      isShown: (puid, index) => this.wall.tiles.some((x) => x.target?.puid === puid && x.target.index === index),
    });
    this.panel = new Panel($('#panel'), {
      selected: () => this.wall.selected,
      onMode: (mode) => { $('#sessions').setAttribute('aria-pressed', mode === 'sessions'); },
    });
    this.eventsUp = false;
    this.#controls();
    onLang(() => { this.#transports(); this.bar(); });
    setInterval(() => this.bar(), 1000);
  }

  start() {
    this.stopEvents = api.watchOnline((event) => this.#event(event), (up) => this.#eventsState(up));
    this.load();
    this.wall.restore();
    this.bar();
  }

  stop() {
    this.stopEvents?.();
    this.wall.closeAll();
    this.panel.show('');
    this.tree.setDevices([]);
    this.leaving = false;
  }

  async load() {
    try {
      this.tree.setDevices(await api.devices());
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
    $('#refresh').onclick = () => this.load();
    $('#sessions').onclick = () => panel.toggle('sessions');
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
    if ($('#app').hidden || event.ctrlKey || event.metaKey || event.altKey || $('#keys').open) return;
    const typing = event.target.closest('input, select, textarea');
    if (typing) {
      if (event.key === 'Escape') typing.blur();
      return;
    }
    const { wall, panel } = this;
    const tile = wall.selected;
    const keys = {
      '/': () => { $('#app').classList.add('side-open'); $('#search').focus(); },
      '?': () => showKeys(),
      m: () => tile.toggleSound(), s: () => tile.toggleStats(), f: () => tile.full(), i: () => panel.toggle('details'), r: () => tile.retry(),
      Delete: () => tile.close(), Backspace: () => tile.close(),
      ArrowLeft: () => wall.move(-1, 0), ArrowRight: () => wall.move(1, 0), ArrowUp: () => wall.move(0, -1), ArrowDown: () => wall.move(0, 1),
      Escape: () => panel.show(''),
      ...Object.fromEntries(LAYOUTS.map((n, i) => [String(i + 1), () => wall.setLayout(n)])),
    };
    const action = keys[event.key] ?? keys[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  }
}

function showKeys() {
  const rows = [['/', 'search'], ['1 – 4', 'layout'], ['← ↑ ↓ →', 'move'], ['↵', 'tree'], ['M', 'sound'], ['S', 'stats'], ['I', 'info'], ['F', 'full'], ['R', 'retry'], ['Del', 'close'], ['?', 'help']];
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
