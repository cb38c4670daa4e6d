// Why a view has a picture or none: the sentence, the steps, the counters and the SIP exchange, as the node tells them.
//
// The panel asks every few seconds. Each part is drawn anew only when what it shows has changed, so that what a reader has
// opened, selected or scrolled to stays.

import { deviceMessages, downloadCapture } from './api.js';
import { copyButton } from './copy.js';
import { bitRate, byteCount, codecLabel, h, icon } from './dom.js';
import { lang, t } from './i18n.js';

/** Samples of a sparkline. */
const SAMPLES = 60;
const SVG = 'http://www.w3.org/2000/svg';

/** A piece of the panel that knows whether it must be drawn again. */
class Part {
  constructor(draw, className = '') {
    this.draw = draw;
    this.el = h('section', { class: className });
  }

  update(data) {
    const key = `${lang()} ${JSON.stringify(data)}`;
    if (key === this.key) return;
    this.key = key;
    const children = data ? this.draw(data) : [];
    this.el.hidden = children.length === 0;
    this.el.replaceChildren(...children);
  }
}

export class Diagnosis {
  constructor() {
    this.parts = {
      verdict: new Part(verdict, 'diag-verdict'),
      steps: new Part(steps, 'diag-steps'),
      attempts: new Part(attempts),
      counters: new Part((data) => this.#counters(data)),
      path: new Part(path),
      tracks: new Part(tracks),
      session: new Part(session),
      exchange: new Part((data) => this.#exchange(data), 'diag-exchange'),
      device: new Part((data) => this.#device(data), 'diag-exchange'),
    };
    this.el = h('div', { data: { testid: 'diagnosis' } }, Object.values(this.parts).map((part) => part.el));
    this.samples = [];
  }

  /** Shows what `/dialog/info` said; null empties it. `puid` is the device. */
  show(info, puid) {
    const d = info?.diagnosis;
    if (info?.dialogid !== this.dialogId) {
      this.dialogId = info?.dialogid;
      this.samples = [];
    }
    if (puid !== this.puid) {
      this.puid = puid;
      this.all = null;
    }
    if (d) this.samples = [...this.samples, info.ingest].slice(-SAMPLES);
    const { parts } = this;
    parts.verdict.update(d && { kind: d.kind, healthy: d.healthy, text: d[lang()] ?? d.en, whole: report(info) });
    parts.steps.update(d && { steps: d.steps });
    parts.attempts.update(d && d.attempts.length > 1 ? d.attempts : null);
    parts.counters.update(d && { ingest: info.ingest, more: d.counters });
    parts.path.update(d && Object.keys(d.path).length ? d.path : null);
    parts.tracks.update(d?.tracks.length ? d.tracks : null);
    parts.session.update(info && { ...info, ingest: undefined, tracks: undefined, diagnosis: undefined });
    parts.exchange.update(d && puid ? { messages: d.messages } : null);
    parts.device.update(puid ? { puid, all: this.all } : null);
  }

  #counters({ ingest, more }) {
    const spark = (of) => sparkline(this.samples.map(of));
    const delta = (key) => this.samples.slice(1).map((s, i) => Math.max(0, s[key] - this.samples[i][key]));
    const share = ingest.lost ? ` (${((100 * ingest.lost) / (ingest.packets + ingest.lost)).toFixed(1)} %)` : '';
    const errors = Object.entries(more.psErrors).map(([kind, n]) => `${kind} ${n}`).join(', ');
    const optional = (key, value) => (value ? [row(t(`diag.${key}`), value, 'warn')] : []);
    return [heading(t('diag.counters')), h('dl', { class: 'num diag-counters' },
      row(t('diag.rate'), bitRate(ingest.bitRate), '', spark((s) => s.bitRate)),
      row(t('diag.fps'), `${ingest.fps.toFixed(1)} /s`, '', spark((s) => s.fps)),
      row(t('diag.packets'), `${ingest.packets} · ${byteCount(ingest.bytes)}`),
      row(t('diag.lost'), `${ingest.lost}${share}`, ingest.lost ? 'warn' : '', sparkline(delta('lost'))),
      row(t('diag.order'), `${ingest.reordered} / ${ingest.duplicate} / ${more.late}`),
      row(t('diag.frames'), `${ingest.frames} / ${ingest.keyFrames}`),
      optional('foreign', ingest.foreign), optional('kernel', more.kernelDropped), optional('invalid', more.invalid),
      optional('damaged', ingest.damagedFrames), optional('held', ingest.heldFrames), optional('dropped', more.droppedFrames), optional('asked', more.keyFramesAsked),
      optional('moves', ingest.sourceMoves), optional('refused', more.sourceRefused), optional('jumps', ingest.timeJumps), optional('restarts', more.restarts), optional('ps', errors),
      ingest.clockDriftPpm === undefined ? [] : row(t('diag.drift'), `${ingest.clockDriftPpm} ppm`), row(t('diag.rtcp'), `${more.rtcpReceived} / ${more.reportsSent}`))];
  }

  #exchange({ messages }) {
    const copy = copyButton(() => messages.map(asText).join('\n\n'));
    return [heading(t('diag.sip'), messages.length ? copy : null), messages.length ? ladder(messages) : h('p', { class: 'dim' }, t('diag.sip.none'))];
  }

  #device({ puid, all }) {
    const load = h('button', { class: 'quiet text', data: { testid: 'all-messages' }, onclick: async () => {
      this.all = this.all ? null : await deviceMessages(puid).catch(() => []);
      this.parts.device.update({ puid, all: this.all });
    } }, t(all ? 'diag.hide' : 'diag.show'));
    const pcap = h('button', { class: 'quiet text', data: { testid: 'pcap' }, title: t('diag.pcap.hint'), onclick: () => downloadCapture(puid).catch(() => {}) }, t('diag.pcap'));
    return [heading(t('diag.device'), load, pcap), ...(all ? [all.length ? ladder(all) : h('p', { class: 'dim' }, t('diag.sip.none'))] : [])];
  }
}

function heading(text, ...buttons) {
  return h('h3', {}, h('span', {}, text), h('span', { class: 'grow' }), buttons);
}

function row(key, value, className = '', extra = null) {
  return [h('dt', {}, key), h('dd', { class: className }, extra, h('span', {}, String(value)))];
}

function verdict({ kind, healthy, text, whole }) {
  const mood = healthy ? (kind === 'opening' ? 'wait' : 'good') : 'bad';
  return [h('p', { class: `verdict ${mood}`, data: { testid: 'verdict', kind } }, icon(healthy ? 'info' : 'warn'), h('span', {}, capital(text)), copyButton(() => whole))];
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** The steps as a row of points on a line. */
function steps({ steps: all }) {
  return [h('ol', { class: 'steps num' }, all.map((step) =>
    h('li', { class: step.state, title: t(`diag.step.${step.name}.hint`), data: { testid: `step-${step.name}` } },
      h('span', { class: 'step-name' }, t(`diag.step.${step.name}`)), h('span', { class: 'step-dot' }),
      h('span', { class: 'step-ms' }, step.ms === undefined ? (step.state === 'failed' ? '✕' : '') : duration(step.ms)))))];
}

const duration = (ms) => (ms < 10_000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`);

function attempts(all) {
  return [heading(t('diag.attempts')), h('dl', { class: 'num' }, all.map((a) =>
    row(t(`diag.by.${a.transport}`), a.failure ? a.failure.split(':')[0] : a.stage, a.failure ? 'warn' : 'good')))];
}

function path(p) {
  const keys = ['transport', 'ssrc', 'offered', 'answered', 'source', 'sipPeer'].filter((key) => p[key]);
  return [heading(t('diag.path')), h('dl', { class: 'num' }, keys.map((key) => row(t(`diag.path.${key}`), key === 'transport' ? t(`diag.by.${p[key]}`) : p[key])))];
}

function tracks(all) {
  return [heading(t('diag.tracks')), ...all.map((track) => {
    const size = track.width && `${track.width} × ${track.height}`;
    const rate = track.fps && `${track.fps} /s`;
    const level = track.level && `${track.profile} @ L${track.level}`;
    const sound = track.sampleRate && `${track.sampleRate} Hz × ${track.channels}`;
    const sets = ['vps', 'sps', 'pps'].filter((key) => track[key]);
    return h('div', { class: 'diag-track' },
      h('b', {}, codecLabel(track.codec)), h('span', { class: 'num' }, [level, size, rate, sound].filter(Boolean).join(' · ')),
      sets.length ? h('details', {}, h('summary', {}, sets.map((s) => s.toUpperCase()).join(' · ')), h('dl', { class: 'hex' }, sets.map((key) => row(key.toUpperCase(), track[key])))) : null);
  })];
}

function session(info) {
  const time = (s) => (s ? new Date(s * 1000).toLocaleString(lang() === 'zh' ? 'zh-CN' : 'en-GB') : null);
  const rows = [['id', info.dialogid], ['by', info.transport], ['user', info.userid], ['peer', info.peer], ['begun', time(info.createTime)], ['ended', time(info.closeTime)],
    ['first', info.firstFrameMs === undefined ? null : duration(info.firstFrameMs)], ['sent', byteCount(info.sentBytes)], ['skipped', info.skipped || null]];
  return [heading(t('panel.session')), h('dl', { class: 'num' }, rows.filter(([, value]) => value).map(([key, value]) => row(t(`diag.session.${key}`), value)))];
}

/** Messages one below the other, each with its arrow: to the device to the right, from it to the left. */
function ladder(messages) {
  const first = messages[0].time;
  return h('ol', { class: 'ladder' }, messages.map((m) => {
    const status = Number(/^SIP\/2\.0 (\d{3})/.exec(m.start)?.[1] ?? 0);
    const mood = status >= 400 && status !== 401 && status !== 407 ? 'bad' : status >= 200 && status < 300 ? 'good' : '';
    return h('li', { class: `${m.direction} ${mood}` }, h('details', {},
      h('summary', { title: `${m.local} ${m.direction === 'out' ? '→' : '←'} ${m.peer} (${m.transport})` },
        h('span', { class: 'num dim' }, `+${duration(m.time - first)}`), h('span', { class: 'arrow' }, m.direction === 'out' ? '→' : '←'),
        h('span', { class: 'line' }, short(m)), m.count > 1 ? h('span', { class: 'times num', title: t('diag.times', { since: new Date(m.since).toLocaleString() }) }, `×${m.count}`) : null),
      h('pre', {}, asText(m))));
  }));
}

/** "INVITE", "200 OK (INVITE)", "MESSAGE Keepalive". */
function short(m) {
  const answer = /^SIP\/2\.0 (.*)$/.exec(m.start);
  if (answer) return `${answer[1]} (${/^CSeq\s*:\s*\d+\s+(\S+)/im.exec(m.head)?.[1] ?? '?'})`;
  const what = /<CmdType>\s*(\w+)/.exec(m.body)?.[1];
  return [m.start.split(' ')[0], what].filter(Boolean).join(' ');
}

const asText = (m) => `${m.head.replace(/\r/g, '')}${m.body.replace(/\r/g, '')}`.trimEnd();

/** What a person pastes into a message to somebody who can help. */
function report(info) {
  const d = info.diagnosis;
  const lines = [`${info.dialogid} ${info.puid} / ${info.index} ${info.transport}`, d.en, d.zh,
    d.steps.map((s) => `${s.name} ${s.ms === undefined ? s.state : `${s.ms} ms`}`).join(', '),
    Object.entries(d.path).map(([key, value]) => `${key} ${value}`).join(', '),
    `packets ${info.ingest.packets}, lost ${info.ingest.lost}, reordered ${info.ingest.reordered}, duplicate ${info.ingest.duplicate}, foreign ${info.ingest.foreign}, PS errors ${info.ingest.psErrors}`,
    ...d.tracks.map((x) => [x.codec, x.profile, x.level, x.width && `${x.width} x ${x.height}`, x.sampleRate].filter(Boolean).join(' ')), '', ...d.messages.map(asText)];
  return lines.join('\n');
}

function sparkline(values) {
  const max = Math.max(...values);
  if (values.length < 2 || !(max > 0)) return null;
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', 'spark');
  svg.setAttribute('viewBox', `0 0 ${SAMPLES - 1} 16`);
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('aria-hidden', 'true');
  const line = document.createElementNS(SVG, 'polyline');
  const from = SAMPLES - values.length;
  line.setAttribute('points', values.map((v, i) => `${from + i},${(15 - (14 * v) / max).toFixed(1)}`).join(' '));
  svg.append(line);
  return svg;
}
