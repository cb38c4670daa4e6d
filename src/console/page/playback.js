// Records of a device: searched by day, shown on a timeline, played at any speed, downloaded.
//
// A playback is one session on the node from where it was started to the end of what is recorded without a gap. Within it
// a click seeks; elsewhere it starts a new one. The node says once a second where the device is. There is sound at speed 1
// alone, so a change from or to it opens the media anew.

import { address, call, gantry } from './api.js';
import { byteCount, failure, h, icon, setIcon, setText } from './dom.js';
import { lang, onLang, t } from './i18n.js';
import { Fmp4Player } from './play-fmp4.js';
import { Timeline, clock, startOfDay } from './timeline.js';

const SPEEDS = [-4, -2, -1, 0.25, 0.5, 1, 2, 4, 8];
const PAGE = 1000;
const STATE_MS = 1000;
const TASKS_MS = 2000;
/** Records with a shorter gap between them are played as one. */
const GAP_S = 2;
const DAY_S = 86_400;

/** A list of words `prefix.value`, drawn with the other words. */
const choice = (testid, values, prefix, onchange) => h('select', { data: { testid }, onchange }, values.map((value) => h('option', { value, data: { words: `${prefix}.${value || 'any'}` } })));

export class Playback {
  constructor(el) {
    this.el = el;
    this.records = [];
    this.tasks = [];
    this.speed = 1;
    this.timeline = new Timeline({ onSeek: (at) => this.seek(at), onMark: () => this.#drawTools() });
    this.#build();
    onLang(() => this.#words());
    this.#words();
  }

  #build() {
    const button = (name, key, action) => h('button', { class: 'quiet', data: { key, testid: `rec-${name}` }, onclick: action }, icon(name));
    this.el.append(
      h('div', { class: 'rec-head line' }, this.title = h('b', {}), h('span', { class: 'grow' }),
        button('prev', 'rec.daybefore', () => this.#shiftDay(-1)),
        this.date = h('input', { type: 'date', data: { key: 'rec.day', testid: 'rec-day' }, onchange: () => this.search() }),
        button('next', 'rec.dayafter', () => this.#shiftDay(1)),
        h('label', { class: 'choice' }, h('span', { data: { words: 'rec.reason' } }), this.reason = choice('rec-reason', ['', 'time', 'alarm', 'manual'], 'rec.reason', () => this.search())),
        h('label', { class: 'choice' }, h('span', { data: { words: 'rec.secrecy' } }), this.secrecy = choice('rec-secrecy', ['0', '1'], 'rec.secrecy', () => this.search())),
        this.searchButton = h('button', { data: { testid: 'rec-search', words: 'rec.search' }, onclick: () => this.search() })),
      this.stage = h('div', { class: 'rec-stage', data: { state: 'empty' } }, this.video = h('video', { playsInline: true, autoplay: true, muted: true }), this.message = h('div', { class: 'tile-message', role: 'status', data: { testid: 'rec-message' } })),
      h('div', { class: 'rec-tools line' },
        this.playButton = button('play', 'rec.play', () => this.toggle()), this.stopButton = button('halt', 'rec.stop', () => this.close()),
        this.soundButton = button('mute', 'tile.unmute', () => this.#sound()),
        h('label', { class: 'choice' }, h('span', { data: { words: 'rec.speed' } }), this.speedSelect = h('select', { data: { testid: 'rec-speed' }, onchange: () => this.setSpeed(Number(this.speedSelect.value)) }, SPEEDS.map((s) => h('option', { value: s, selected: s === 1 }, `${s}×`)))),
        this.where = h('span', { class: 'num', data: { testid: 'rec-where' } }), h('span', { class: 'grow' }), this.found = h('span', { class: 'dim num', data: { testid: 'rec-found' } }),
        this.downloadButton = h('button', { data: { testid: 'rec-download' }, onclick: () => this.download() })),
      this.notice = h('div', { role: 'alert' }), this.timeline.el, this.taskList = h('ul', { class: 'list tasks', data: { testid: 'rec-tasks' } }));
    this.date.valueAsNumber = (startOfDay(Date.now() / 1000) - new Date().getTimezoneOffset() * 60) * 1000;
  }

  #words() {
    for (const el of this.el.querySelectorAll('[data-key]')) { el.title = t(el.dataset.key); el.setAttribute('aria-label', el.title); }
    for (const el of this.el.querySelectorAll('[data-words]')) el.textContent = t(el.dataset.words);
    this.#drawTitle();
    this.#drawTools();
    this.#drawTasks();
    this.#say(...(this.said ?? [() => t('rec.choose')]));
    this.#count(this.counted);
  }

  /** Chooses the channel whose records are searched. */
  show(target) {
    if (this.target?.puid === target.puid && this.target.index === target.index) return;
    this.close();
    this.target = target;
    this.#drawTitle();
    this.search();
  }

  start() {
    this.stop();
    this.timer = setInterval(() => { if (this.tasks.some(isUnderWay)) this.#loadTasks(); }, TASKS_MS);
    this.#loadTasks();
  }

  stop() { clearInterval(this.timer); this.close(); }

  // ---- searching ----

  #shiftDay(days) {
    this.date.valueAsNumber += days * DAY_S * 1000;
    this.search();
  }

  async search() {
    if (!this.target) return this.#say(() => t('rec.choose'));
    const { target } = this;
    const [year, month, day] = this.date.value.split('-').map(Number);
    if (!year) return;
    const from = new Date(year, month - 1, day).getTime() / 1000;
    const to = new Date(year, month - 1, day + 1).getTime() / 1000;
    this.timeline.day(from, to - from);
    this.timeline.setSpans([]);
    this.timeline.setMark(null);
    this.#fail(null);
    this.close();
    this.#count(() => t('rec.searching'));
    try {
      const { data, partial } = await call('POST', `/pu/recordfile/filter/${encodeURIComponent(target.puid)}`, { page: 0, pageSize: PAGE, filter: { beginTime: from, endTime: to, channelIndex: target.index, recordReason: this.reason.value ? [this.reason.value] : [], secrecy: Number(this.secrecy.value) } });
      if (this.target !== target) return;
      this.records = (data ?? []).map((r) => ({ from: Number(r.beginTime), to: Number(r.endTime), kind: /alarm/i.test(r.recordReason ?? '') ? 'alarm' : /manual/i.test(r.recordReason ?? '') ? 'manual' : 'time', size: Number(r.fileSize) || 0 })).sort((a, b) => a.from - b.from);
      this.timeline.setSpans(this.records);
      const size = this.records.reduce((sum, r) => sum + r.size, 0);
      this.#count(() => (this.records.length ? [t('rec.found', { n: this.records.length }), size && byteCount(size), partial && t('rec.partial')].filter(Boolean).join(' · ') : t('rec.none')));
      this.#say(() => t(this.records.length ? 'rec.click' : 'rec.none'));
    } catch (error) {
      if (this.target !== target) return;
      this.records = [];
      this.#count(null);
      this.#fail(error);
      this.#say(null);
    }
    this.#drawTools();
  }

  /** What is recorded without a gap from `at` on; the next record if there is none at `at`. */
  #stretch(at) {
    const i = this.records.findIndex((r) => r.to > at);
    if (i < 0) return null;
    let { to } = this.records[i];
    for (const r of this.records.slice(i + 1)) if (r.from - to <= GAP_S) to = Math.max(to, r.to);
    return { from: Math.max(at, this.records[i].from), to };
  }

  // ---- playing ----

  async seek(at) {
    if (!this.target) return;
    const s = this.session;
    if (s && at >= s.beginTime && at < s.endTime && s.state !== 'ended') return this.#order({ cmd: 'SEEK', range: [at - s.beginTime] });
    const stretch = this.#stretch(at);
    if (!stretch) return this.#fail({ code: 0, message: t('rec.nothere') });
    await this.#open(stretch);
  }

  async #open({ from, to }) {
    this.close();
    this.#fail(null);
    const run = this.run = Symbol('playback');
    this.#state('opening');
    this.#say(() => t('rec.opening'), true);
    try {
      const { puid, index } = this.target;
      const session = await gantry('POST', '/playback', { id: puid, index, beginTime: from, endTime: to, scale: this.speed });
      if (this.run !== run) { gantry('DELETE', `/playback/${encodeURIComponent(session.dialogid)}`).catch(() => {}); return; }
      this.session = session;
      this.poll = setInterval(() => this.#refresh(), STATE_MS);
      await this.#watch(run);
    } catch (error) {
      if (this.run !== run) return;
      this.close();
      this.#fail(error);
    }
  }

  async #watch(run) {
    this.player?.stop();
    const video = h('video', { playsInline: true, autoplay: true, muted: this.video.muted });
    this.video.replaceWith(video);
    this.video = video;
    const player = this.player = new Fmp4Player(video, { ...this.target, media: `/playback/${this.session.dialogid}` }, {
      onStage: () => {},
      onLost: () => { if (this.run === run && this.player === player && this.session?.state === 'playing') this.#refresh(); },
    });
    await player.start();
    if (this.run !== run || this.player !== player) return;
    this.#say(null);
    this.#state('playing');
  }

  /** Whether the device does it. */
  async #order(body) {
    const { session } = this;
    if (!session) return false;
    try {
      this.#took(await gantry('PUT', `/playback/${encodeURIComponent(session.dialogid)}`, body));
      this.#fail(null);
      return true;
    } catch (error) {
      this.#fail(error);
      return false;
    }
  }

  async #refresh() {
    const { session } = this;
    if (!session) return;
    try { this.#took(await gantry('GET', `/playback/${encodeURIComponent(session.dialogid)}`)); } catch { if (this.session === session) this.#ended(''); }
  }

  #took(state) {
    if (!this.session || state.dialogid !== this.session.dialogid) return;
    Object.assign(this.session, state);
    const [at] = state.range ?? [0];
    const now = state.beginTime + at;
    this.timeline.setCursor(now);
    setText(this.where, clock(now, true));
    if (state.state === 'ended') return this.#ended(state.end ?? '');
    this.#state(state.state);
  }

  #ended(why) {
    this.close();
    this.#say(() => [t('rec.ended'), why].filter(Boolean).join(' · '));
  }

  toggle() {
    const s = this.session;
    if (!s) { const first = this.timeline.cursor ?? this.records[0]?.from; if (first !== undefined) this.seek(first); return; }
    this.#order(s.state === 'paused' ? { cmd: 'PLAY', scale: this.speed } : { cmd: 'PAUSE' });
  }

  async setSpeed(speed) {
    const before = this.speed;
    this.speed = speed;
    if (!this.session) return;
    if (!(await this.#order({ cmd: 'PLAY', scale: speed }))) {
      this.speed = before;
      this.speedSelect.value = String(before);
      return;
    }
    // A media source cannot lose or gain a track.
    if (this.session && (before === 1) !== (speed === 1)) await this.#watch(this.run).catch((error) => this.#fail(error));
  }

  close() {
    clearInterval(this.poll);
    this.run = null;
    this.player?.stop();
    this.player = null;
    const { session } = this;
    this.session = null;
    if (session && session.state !== 'ended') gantry('DELETE', `/playback/${encodeURIComponent(session.dialogid)}`).catch(() => {});
    this.#state('empty');
    this.#say(() => (this.target ? (this.records.length ? t('rec.click') : '') : t('rec.choose')));
  }

  #sound() {
    this.video.muted = !this.video.muted;
    setIcon(this.soundButton, this.video.muted ? 'mute' : 'sound');
  }

  // ---- downloads ----

  /** What is marked, else the stretch at the cursor. */
  #wanted() { return this.timeline.mark ?? (this.timeline.cursor !== null && this.records.find((r) => r.from <= this.timeline.cursor && r.to > this.timeline.cursor)) ?? null; }

  async download() {
    const span = this.#wanted() || this.records[0];
    if (!span || !this.target) return;
    const { puid, index } = this.target;
    try {
      await call('POST', '/28181in/recordfile/task/create', { id: puid, index, beginTime: Math.round(span.from), endTime: Math.round(span.to), speed: 4 });
      this.#fail(null);
      this.timeline.setMark(null);
      await this.#loadTasks();
    } catch (error) { this.#fail(error); }
  }

  async #loadTasks() {
    if (this.el.hidden) return;
    try {
      const answer = await gantry('POST', '/downloads/list', { page: 0, pageSize: 50, filter: {} });
      this.tasks = answer?.data ?? answer?.tasks ?? (Array.isArray(answer) ? answer : []);
      this.#drawTasks();
    } catch (error) { if (this.tasks.length) this.#fail(error); }
  }

  async #task(method, path) {
    try { await gantry(method, path); this.#fail(null); } catch (error) { this.#fail(error); }
    this.#loadTasks();
  }

  #drawTasks() {
    this.taskList.hidden = this.tasks.length === 0;
    this.taskList.replaceChildren(...this.tasks.map((task) => {
      const id = encodeURIComponent(task.taskid);
      const done = task.state === 'done';
      const stuck = task.state === 'failed' || task.state === 'cancelled';
      return h('li', { class: task.state, data: { testid: 'task', state: task.state } },
        h('span', { class: 'list-name num', title: `${task.puid} / ${task.index}` }, `${String(task.puid).slice(-8)} / ${task.index} · ${dayOf(task.beginTime)} ${clock(task.beginTime, true)} – ${clock(task.endTime, true)}`),
        h('progress', { max: 100, value: task.progress ?? 0, aria: { label: t('rec.progress') } }), h('span', { class: 'num dim' }, `${Math.round(task.progress ?? 0)} %`),
        h('span', { class: stuck ? 'bad' : 'dim', title: task.reason ?? '' }, [t(`rec.task.${task.state}`), stuck && task.reason, done && byteCount(task.fileSize)].filter(Boolean).join(' · ')),
        done || stuck ? null : h('span'),
        done ? h('a', { class: 'button', href: address('http', `/bvcsp/v1/28181in/recordfile/download/${id}?download=true`), download: '' }, t('rec.save')) : null,
        stuck ? h('button', { class: 'quiet text', onclick: () => this.#task('POST', `/downloads/${id}/resume`) }, t('rec.resume')) : null,
        h('button', { class: 'quiet', title: t('delete'), aria: { label: t('delete') }, onclick: () => this.#task('DELETE', `/downloads/${id}`) }, icon('trash')));
    }));
  }

  // ---- display ----

  #state(state) {
    this.stage.dataset.state = state;
    setIcon(this.playButton, state === 'playing' ? 'pause' : 'play');
    this.playButton.dataset.key = state === 'playing' ? 'rec.pause' : 'rec.play';
    this.playButton.title = t(this.playButton.dataset.key);
    this.playButton.setAttribute('aria-label', this.playButton.title);
    this.#drawTools();
  }

  #drawTitle() {
    this.title.textContent = this.target ? [...new Set([this.target.name, this.target.deviceName])].join(' · ') : t('space.records');
  }

  #drawTools() {
    if (!this.downloadButton) return;
    const { mark } = this.timeline;
    this.playButton.disabled = !this.records.length;
    this.stopButton.disabled = !this.session;
    this.downloadButton.disabled = !this.records.length;
    this.downloadButton.textContent = mark ? t('rec.download.span', { from: clock(mark.from, true), to: clock(mark.to, true) }) : t('rec.download');
    this.downloadButton.title = t('rec.download.hint');
  }

  /** `words` makes the text, so that it can be said again in the other language. */
  #say(words, waits = false) {
    this.said = [words, waits];
    const text = words?.();
    this.message.replaceChildren(...(text ? [waits ? h('span', { class: 'spinner' }) : '', h('span', { class: 'dim' }, text)] : []));
  }

  #count(words) {
    this.counted = words;
    setText(this.found, words?.() ?? '');
  }

  #fail(error) { this.notice.replaceChildren(...(error ? [failure(error)] : [])); }
}

const isUnderWay = (task) => task.state === 'waiting' || task.state === 'running';

const dayOf = (unixS) => new Date(unixS * 1000).toLocaleDateString(lang() === 'zh' ? 'zh-CN' : 'en-GB');
