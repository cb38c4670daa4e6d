// One view of the wall: what it shows, by which transport, how it does, and what went wrong.
//
//   empty ─play─► opening ─first picture─► playing ─lost─► retrying ─► opening …
//                    └─every transport failed─► failed ─retry, device online─► opening …

import { lastFailure } from './api.js';
import { bitRate, codecLabel, failure, h, icon, setIcon, setText } from './dom.js';
import { has, lang, t } from './i18n.js';
import { Fmp4Player } from './play-fmp4.js';
import { FlvPlayer } from './play-flv.js';
import { WebrtcPlayer } from './play-webrtc.js';
import { PlayError } from './play-error.js';
import { dragZoom } from './ptz-more.js';

/** In the order in which they are tried. */
const PLAYERS = [WebrtcPlayer, Fmp4Player, FlvPlayer];
export const TRANSPORTS = PLAYERS.map((p) => p.transport);

const SAMPLE_MS = 1000;
/** A rate over less than this says nothing. */
const RATE_MS_MIN = 500;
/** Seconds without a new picture after which a playing view counts as lost. */
const STALL_S_MAX = 10;
const TOAST_MS = 6000;
/** Waits between attempts to get a lost view back, in seconds; the last one repeats. */
const RETRY_S = [1, 2, 4, 8, 15];

export class Tile {
  /** `hooks`: onSelect(tile), onInfo(tile), onChange(tile). */
  constructor(number, hooks) {
    this.number = number;
    this.hooks = hooks;
    this.state = 'empty';
    this.target = null;
    this.showStats = false;
    this.muted = true;
    this.#build();
    this.#reset();
    this.render();
  }

  #build() {
    const button = (name, key, handler, testid) =>
      h('button', { class: 'quiet', data: { key, testid }, onclick: (e) => { e.stopPropagation(); handler(); } }, icon(name));
    this.el = h('div', {
      class: 'tile', tabIndex: 0, role: 'group', data: { testid: `tile-${this.number}` },
      onclick: () => this.hooks.onSelect(this), onfocus: () => this.hooks.onSelect(this), ondblclick: () => this.full(),
    },
      this.stage = h('div', { class: 'tile-stage' }),
      this.head = h('div', { class: 'tile-head' },
        this.dot = h('span', { class: 'dot' }), this.title = h('span', { class: 'tile-title' }), h('span', { class: 'grow' }),
        this.soundButton = button('mute', 'tile.unmute', () => this.toggleSound(), 'sound'),
        button('shot', 'tile.shot', () => this.savePicture()),
        this.statsButton = button('stats', 'tile.stats', () => this.toggleStats(), 'stats'),
        button('info', 'tile.info', () => this.hooks.onInfo(this), 'info'),
        button('full', 'tile.full', () => this.full()),
        button('close', 'tile.close', () => this.close(), 'close')),
      this.message = h('div', { class: 'tile-message', 'aria-live': 'polite' }),
      this.foot = h('div', { class: 'tile-foot' },
        this.badge = h('span', { class: 'badge', data: { testid: 'transport-badge' } }),
        this.because = h('span', { class: 'because', data: { testid: 'because' } })),
      this.overlay = h('dl', { class: 'overlay num', data: { testid: 'overlay' } }));
    this.stage.append(this.video = this.#newVideo());
    dragZoom(this.stage, { target: () => (this.state === 'playing' ? this.target : null), picture: () => this.video, failed: (error) => this.#toast(error) });
  }

  /** Says for a while what an order to the camera came to. */
  #toast(error) {
    const note = failure(error);
    note.classList.add('toast');
    this.el.append(note);
    setTimeout(() => note.remove(), TOAST_MS);
  }

  /** A fresh element for every attempt: nothing of the last player is left in it. */
  #newVideo() {
    const video = h('video', { muted: this.muted, playsInline: true, autoplay: true });
    video.disablePictureInPicture = true;
    return video;
  }

  #reset() {
    clearInterval(this.sampler);
    clearInterval(this.retryTimer);
    this.player?.stop();
    this.player = null;
    this.error = null;
    this.finding = null;
    this.attempts = [];
    this.progress = '';
    this.stats = {};
    this.last = null;
  }

  /** Plays a channel. `wanted` is a transport or 'auto'; `clickedAt` is on the clock of `performance.now()`. */
  play(target, wanted = 'auto', clickedAt = performance.now()) {
    this.retries = 0;
    this.hasPlayed = false;
    this.#begin(target, wanted, clickedAt);
  }

  async #begin(target, wanted, clickedAt) {
    this.#reset();
    this.target = target;
    this.wanted = wanted;
    this.clickedAt = clickedAt;
    const run = this.run = Symbol(target.puid);
    const players = PLAYERS.filter((p) => wanted === 'auto' || p.transport === wanted);
    this.#become('opening');
    for (const Player of players) {
      if (this.attempts.length) this.#progress(t('state.next', { transport: t(`transport.${Player.transport}`) }));
      const error = await this.#attempt(Player, run);
      if (this.run !== run) return;
      if (!error) return this.#playing(Player);
      this.attempts.push({ transport: Player.transport, error });
      if (!error.fallback) break;
    }
    this.error = this.#verdict();
    if (this.hasPlayed) this.#retryLater();
    else this.#become('failed');
    this.#explain(run);
  }

  /** The node knows more of its own failure, and in both languages. */
  async #explain(run) {
    if (!this.error.code) return;
    const info = await lastFailure(this.target).catch(() => null);
    if (this.run !== run || !info?.diagnosis) return;
    this.finding = info.diagnosis;
    this.render();
  }

  /** Null when a picture is there, else why not. */
  async #attempt(Player, run) {
    if (!Player.supported()) return new PlayError('unsupported', Player.transport);
    const video = this.#newVideo();
    const player = this.player = new Player(video, this.target, {
      onStage: (stage) => this.run === run && this.player === player && this.#progress(t(`state.${stage}`)),
      onLost: (error) => this.run === run && this.player === player && this.#lost(error),
    });
    this.video.replaceWith(video);
    this.video = video;
    video.onresize = () => this.renderStats();
    try {
      await player.start();
      return null;
    } catch (cause) {
      player.stop();
      if (cause.name === 'AbortError') return new PlayError('interrupted');
      return cause instanceof PlayError ? cause : new PlayError('bad stream', cause.message);
    }
  }

  /** Of several failures the one that tells most: what the node said of the device, else the first. */
  #verdict() {
    const told = this.attempts.find(({ error }) => !error.fallback);
    return (told ?? this.attempts[0]).error;
  }

  #playing(Player) {
    this.hasPlayed = true;
    this.retries = 0;
    this.firstFrameMs = Math.round(performance.now() - this.clickedAt);
    this.transport = Player.transport;
    this.lastPictureAt = performance.now();
    this.sampler = setInterval(() => this.sample(), SAMPLE_MS);
    this.#become('playing');
    this.sample();
  }

  #lost(error) {
    this.error = error;
    this.player?.stop();
    this.player = null;
    this.#retryLater();
  }

  #retryLater() {
    clearInterval(this.sampler);
    clearInterval(this.retryTimer);
    let left = RETRY_S[Math.min(this.retries, RETRY_S.length - 1)];
    this.retries++;
    this.#become('retrying');
    const tick = () => {
      if (left <= 0) { clearInterval(this.retryTimer); this.retry(); return; }
      this.countdown = left--;
      this.render();
    };
    this.retryTimer = setInterval(tick, 1000);
    tick();
  }

  /** Tries the same channel again, by another transport if one is given. */
  retry(wanted = this.wanted) {
    if (this.target) this.#begin(this.target, wanted, performance.now());
  }

  /** The device came back: no reason to wait. */
  deviceOnline() {
    if (this.state === 'failed' || this.state === 'retrying') this.retry();
  }

  close() {
    this.run = null;
    this.#reset();
    this.target = null;
    this.#become('empty');
  }

  // ---- statistics ----

  async sample() {
    const { player, run } = this;
    if (!player) return;
    const now = await player.sample().catch(() => null);
    if (!now || this.run !== run || this.state !== 'playing') return;
    const at = performance.now();
    const { last } = this;
    if (!last || now.framesDecoded > last.framesDecoded) this.lastPictureAt = at;
    this.stats = {
      codec: now.codec, audioCodec: now.audioCodec, decoder: now.decoder, width: this.video.videoWidth, height: this.video.videoHeight,
      ...this.#rates(now, at),
      framesDecoded: now.framesDecoded, framesDropped: now.framesDropped, lost: now.lost,
      audioBytes: now.audioBytes, rttMs: now.rttMs, jitterMs: now.jitterMs, freezes: now.freezes, bufferedS: now.bufferedS,
    };
    if (!last || at - last.at >= RATE_MS_MIN) this.last = { ...now, at };
    this.renderStats();
    this.#renderSound();
    if (at - this.lastPictureAt > STALL_S_MAX * 1000 && document.visibilityState === 'visible') {
      this.#lost(new PlayError('interrupted', `no picture for ${STALL_S_MAX} s`));
    }
  }

  /** What changes by time, since the last sample that was long enough ago. */
  #rates(now, at) {
    const { last } = this;
    const { fps, bitsPerSecond = now.bitsPerSecond, lossPercent } = this.stats;
    if (!last || at - last.at < RATE_MS_MIN) return { fps, bitsPerSecond, lossPercent };
    const rate = (key) => ((now[key] - last[key]) * 1000) / (at - last.at);
    const lost = now.lost - last.lost;
    const expected = lost + now.received - last.received;
    return {
      fps: rate('framesDecoded'), bitsPerSecond: now.bitsPerSecond ?? rate('bytes') * 8,
      lossPercent: expected > 0 ? Math.max(0, (lost / expected) * 100) : now.lost === undefined ? undefined : 0,
    };
  }

  /** What tests and the curious read through `window.gantry`. */
  snapshot() {
    return {
      tile: this.number, state: this.state, puid: this.target?.puid, index: this.target?.index, wanted: this.wanted,
      transport: this.state === 'playing' ? this.transport : undefined, dialogId: this.player?.dialogId,
      firstFrameMs: this.state === 'playing' ? this.firstFrameMs : undefined, muted: this.muted, ...this.stats,
      attempts: this.attempts.map(({ transport, error }) => ({ transport, stage: error.stage, message: error.message })),
      error: this.error && { stage: this.error.stage, message: this.error.message, code: this.error.code },
    };
  }

  // ---- actions ----

  toggleSound() {
    this.muted = !this.muted;
    this.video.muted = this.muted;
    if (!this.muted) this.video.play().catch(() => {});
    this.#renderSound();
  }

  toggleStats(on = !this.showStats) {
    this.showStats = on;
    this.render();
  }

  full() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.el.requestFullscreen?.().catch(() => {});
  }

  savePicture() {
    const { video } = this;
    if (!video.videoWidth) return;
    const canvas = h('canvas', { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext('2d').drawImage(video, 0, 0);
    canvas.toBlob((blob) => {
      const url = URL.createObjectURL(blob);
      const stamp = new Date().toISOString().replace(/[:.]/g, '-');
      h('a', { href: url, download: `${this.target.name}-${stamp}.png` }).click();
      setTimeout(() => URL.revokeObjectURL(url), 1000);
    });
  }

  // ---- display ----

  #become(state) {
    this.state = state;
    this.render();
    this.hooks.onChange(this);
  }

  #progress(text) {
    this.progress = text;
    this.render();
  }

  render() {
    const { el, state, target } = this;
    el.dataset.state = state;
    const name = target ? target.name : t('tile.empty');
    el.setAttribute('aria-label', t('tile.view', { n: this.number, name }));
    setText(this.title, target ? name : '');
    this.title.title = target ? `${target.deviceName} · ${target.puid} / ${target.index}` : '';
    for (const button of el.querySelectorAll('button[data-key]')) {
      button.title = t(button.dataset.key);
      button.setAttribute('aria-label', button.title);
    }
    this.statsButton.setAttribute('aria-pressed', this.showStats);
    this.#renderMessage();
    this.#renderFoot();
    this.#renderSound();
    this.renderStats();
  }

  #renderMessage() {
    const { state, message } = this;
    if (state === 'empty') {
      message.replaceChildren(h('span', { class: 'tile-number num' }, String(this.number)), h('span', { class: 'dim' }, t('tile.empty.hint')));
    } else if (state === 'opening') {
      message.replaceChildren(h('span', { class: 'spinner' }), h('span', {}, this.progress));
    } else if (state === 'failed' || state === 'retrying') {
      message.replaceChildren(...this.#failure());
    } else {
      message.replaceChildren();
    }
  }

  #failure() {
    const { error, finding } = this;
    const own = has(`hint.${error.stage}`) ? t(`hint.${error.stage}`) : '';
    const hint = finding?.[lang()] ?? own;
    return [
      icon('warn'),
      h('strong', { data: { testid: 'stage' } }, t(`stage.${error.stage}`)),
      hint && h('span', {}, hint),
      error.message && !finding && error.message !== hint && h('span', { class: hint ? 'dim small' : '', data: { testid: 'hint' } }, error.message),
      h('span', { class: 'actions' },
        this.state === 'retrying' && h('span', { class: 'dim num' }, t('tile.retryin', { s: this.countdown })),
        h('button', { onclick: (e) => { e.stopPropagation(); this.retry(); }, data: { testid: 'retry' } }, t('tile.retry')),
        this.wanted !== 'auto' && h('button', { class: 'quiet text', onclick: (e) => { e.stopPropagation(); this.retry('auto'); } },
          t('tile.tryother', { transport: t('transport.auto') }))),
    ].filter(Boolean);
  }

  #renderFoot() {
    const playing = this.state === 'playing';
    setText(this.badge, playing ? t(`transport.${this.transport}`) : '');
    this.badge.classList.toggle('second-choice', playing && this.attempts.length > 0);
    setText(this.because, playing && this.attempts.length ? this.#why() : '');
    this.because.title = this.because.textContent;
  }

  #why() {
    const failed = this.attempts.map((a) => t(`transport.${a.transport}`)).join(', ');
    const { error } = this.attempts[0];
    const why = error.stage === 'refused' ? error.message : [t(`stage.${error.stage}`), error.message && `(${error.message})`].filter(Boolean).join(' ');
    return t('tile.instead', { failed, why });
  }

  #renderSound() {
    const key = this.muted ? 'tile.unmute' : 'tile.mute';
    const silent = this.state === 'playing' && this.last && !this.stats.audioCodec && !this.stats.audioBytes;
    setIcon(this.soundButton, this.muted ? 'mute' : 'sound');
    this.soundButton.dataset.key = key;
    this.soundButton.title = t(silent ? 'tile.noaudio' : key);
    this.soundButton.setAttribute('aria-label', this.soundButton.title);
    this.soundButton.setAttribute('aria-pressed', !this.muted);
    this.soundButton.classList.toggle('silent', Boolean(silent));
  }

  /** Rows of the statistics, as shown on the picture and in the panel. */
  rows() {
    const s = this.stats;
    const number = (value, digits = 0) => (Number.isFinite(value) ? value.toFixed(digits) : '–');
    return [
      ['stats.transport', t(`transport.${this.transport}`)],
      ['stats.codec', codecLabel(s.codec) ?? '–'],
      ['stats.size', s.width ? `${s.width} × ${s.height}` : '–'],
      ['stats.fps', number(s.fps, 1)],
      ['stats.rate', bitRate(s.bitsPerSecond)],
      s.lost === undefined ? ['stats.dropped', number(s.framesDropped)] : ['stats.loss', `${number(s.lossPercent, 1)} % (${s.lost})`],
      s.rttMs === undefined ? null : ['stats.rtt', `${number(s.rttMs)} ms`],
      s.bufferedS === undefined ? null : ['stats.buffer', `${number(s.bufferedS, 2)} s`],
      ['stats.sound', codecLabel(s.audioCodec) ?? (s.audioBytes ? '+' : t('stats.none'))],
      ['stats.first', `${this.firstFrameMs} ms`],
    ].filter(Boolean);
  }

  renderStats() {
    const shown = this.showStats && this.state === 'playing';
    this.overlay.hidden = !shown;
    if (!shown) return;
    const rows = this.rows();
    if (this.overlay.children.length !== rows.length * 2) {
      this.overlay.replaceChildren(...rows.flatMap(() => [h('dt'), h('dd')]));
    }
    rows.forEach(([key, value], i) => {
      setText(this.overlay.children[i * 2], t(key));
      setText(this.overlay.children[i * 2 + 1], value);
    });
  }
}
