// What cameras of later editions can besides the pad: a look by its angles (PTZPreciseCtrl, 2022), following what moves or
// what is marked on the picture (TargetTrack, 2022), a home position that the camera returns to by itself (2016), and zooming
// into a part of the picture that is drawn with Shift held (2016).
// And what the pad has no place for: scans and switches.

import { gantry } from './api.js';
import { failure, h } from './dom.js';
import { t } from './i18n.js';

const DRAG_PX_MIN = 12;

/** Where a camera shall look. `after` is called when it has been told. */
export function precise(where, after) {
  const result = h('div', { role: 'status' });
  const field = (key, min, max) => h('input', { type: 'number', step: 0.1, min, max, placeholder: t(`ptz.at.${key}`), title: t(`ptz.at.${key}`), aria: { label: t(`ptz.at.${key}`) }, data: { testid: `precise-${key}` } });
  const [pan, tilt, zoom] = [field('pan', 0, 360), field('tilt', -90, 90), field('zoom', 1, 100)];
  const go = async (event) => {
    event.preventDefault();
    const told = Object.fromEntries([['pan', pan], ['tilt', tilt], ['zoom', zoom]].filter(([, el]) => el.value !== '').map(([key, el]) => [key, Number(el.value)]));
    if (!Object.keys(told).length) return;
    try {
      await gantry('POST', `/device/control/${where}`, { order: 'ptzPrecise', ...told });
      result.replaceChildren();
      after();
    } catch (error) { result.replaceChildren(failure(error)); }
  };
  return h('section', {}, h('h3', {}, t('ptz.precise')), h('form', { class: 'line', onsubmit: go }, pan, tilt, zoom, h('button', { type: 'submit', data: { testid: 'precise-go' } }, t('ptz.go'))), result);
}

/** Lets a camera follow what moves by itself, or what is marked on its picture, and ends that. */
export function tracking(where, target) {
  const result = h('div', { role: 'status', data: { testid: 'track-result' } });
  const said = (mode) => result.replaceChildren(h('p', { class: 'done' }, t('order.done', { order: t(`ptz.track.${mode}`) })));
  const order = async (mode, area) => {
    try {
      await gantry('POST', `/device/control/${where}`, { order: 'targetTrack', mode, area });
      said(mode);
    } catch (error) { result.replaceChildren(failure(error)); }
  };
  const mark = () => {
    const begun = markOn(target, (area) => (area ? order('Manual', area) : result.replaceChildren()));
    result.replaceChildren(h('p', { class: 'dim' }, t(begun ? 'ptz.track.draw' : 'ptz.track.play')));
  };
  const button = (mode, act) => h('button', { data: { testid: `track-${mode}` }, onclick: act }, t(`ptz.track.${mode}`));
  return h('section', {}, h('h3', {}, t('ptz.track')), h('div', { class: 'line' }, button('Auto', () => order('Auto')), button('Manual', mark), button('Stop', () => order('Stop'))), result);
}

/** Looking to and fro between two edges, which are set where the camera looks, and the switches: the wiper is the first. */
export function scanning(where) {
  const result = h('div', { role: 'status', data: { testid: 'scan-result' } });
  const number = (key, min, max, value) => h('input', { type: 'number', min, max, value, title: t(`ptz.${key}`), aria: { label: t(`ptz.${key}`) }, data: { testid: key.replace('.', '-') } });
  const scan = number('scan.number', 0, 255, 1);
  const speed = number('scan.speed', 0, 4095, 400);
  const aux = number('aux.number', 1, 255, 1);
  const tell = (body) => async () => {
    try {
      await gantry('POST', `/device/control/${where}`, body());
      result.replaceChildren(h('p', { class: 'done' }, t('ptz.told')));
    } catch (error) { result.replaceChildren(failure(error)); }
  };
  const button = (key, body) => h('button', { data: { testid: key.replace('.', '-') }, onclick: tell(body) }, t(`ptz.${key}`));
  const action = (name) => button(`scan.${name}`, () => ({ order: 'scan', scan: Number(scan.value), action: name }));
  const pace = h('button', { data: { testid: 'scan-speed-set' }, onclick: tell(() => ({ order: 'scan', scan: Number(scan.value), action: 'speed', speed: Number(speed.value) })) }, t('ptz.scan.pace'));
  const turn = (on) => button(on ? 'aux.on' : 'aux.off', () => ({ order: 'auxiliary', number: Number(aux.value), on }));
  return h('section', {}, h('h3', {}, t('ptz.scan')),
    h('div', { class: 'line' }, scan, ...['left', 'right', 'start', 'stop'].map(action)),
    h('div', { class: 'line' }, speed, pace),
    h('h3', {}, t('ptz.aux')), h('div', { class: 'line' }, aux, turn(true), turn(false)), result);
}

/** The home position of a camera, asked for when it is unfolded. */
export function home(where) {
  const result = h('div', { role: 'status', data: { testid: 'home-result' } });
  const on = h('input', { type: 'checkbox', data: { testid: 'home-on' } });
  const preset = h('input', { type: 'number', min: 0, max: 255, title: t('ptz.home.preset'), aria: { label: t('ptz.home.preset') }, data: { testid: 'home-preset' } });
  const wait = h('input', { type: 'number', min: 1, max: 86_400, title: t('ptz.home.wait'), aria: { label: t('ptz.home.wait') }, data: { testid: 'home-wait' } });
  const load = async () => {
    try {
      const { homePosition } = await gantry('POST', `/device/query/${where}`, { query: 'homePosition' });
      on.checked = homePosition.enabled === 1;
      preset.value = homePosition.presetIndex ?? '';
      wait.value = homePosition.resetTime ?? '';
    } catch (error) { result.replaceChildren(failure(error)); }
  };
  const save = async (event) => {
    event.preventDefault();
    const value = (el) => (el.value === '' ? undefined : Number(el.value));
    try {
      await gantry('POST', `/device/control/${where}`, { order: 'homePosition', enabled: on.checked ? 1 : 0, presetIndex: value(preset), resetTime: value(wait) });
      result.replaceChildren(h('p', { class: 'done' }, t('cfg.saved')));
    } catch (error) { result.replaceChildren(failure(error)); }
  };
  const el = h('details', { class: 'fold', data: { testid: 'fold-home' }, ontoggle: () => { if (el.open && !el.dataset.filled) { el.dataset.filled = '1'; load(); } } }, h('summary', {}, t('ptz.home')),
    h('form', { class: 'settings', onsubmit: save }, h('label', { class: 'field' }, h('span', {}, t('ptz.home.on')), on), h('label', { class: 'field' }, h('span', {}, t('ptz.home.preset')), preset), h('label', { class: 'field' }, h('span', {}, t('ptz.home.wait')), wait),
      h('div', { class: 'line' }, h('span', { class: 'grow' }), h('button', { type: 'submit', class: 'accent', data: { testid: 'home-save' } }, t('cfg.save'))), result));
  return el;
}

/** Views on which a frame can be drawn. */
let views = [];
/** What the next frame is for, if not for zooming: `{puid, index, done(area or null)}`. */
let marking = null;

function endMarking(area) {
  const { done } = marking;
  marking = null;
  delete document.body.dataset.marking;
  done(area);
}

/**
 * The next frame that is drawn on a view of this channel goes to `done`; null: it was given up (Escape, or another one was
 * begun). False: no view plays the channel.
 */
export function markOn({ puid, index }, done) {
  stopMarking();
  if (!views.some((view) => shows(view, { puid, index }))) return false;
  marking = { puid, index, done };
  document.body.dataset.marking = 'true';
  return true;
}

/** What was to be marked is not any more. */
export function stopMarking() { if (marking) endMarking(null); }

addEventListener('keydown', (event) => { if (marking && event.key === 'Escape') { event.stopPropagation(); stopMarking(); } }, true);

function shows(view, { puid, index }) {
  const target = view.target();
  return target?.puid === puid && target.index === index;
}

/**
 * Lets a frame be drawn on a view: with Shift held the camera zooms in to it, or with Alt as well out from it; where a target is
 * to be marked, without. `view`: `target()` gives the channel or null, `picture()` the video, `failed(error)` is told what went wrong.
 */
export function dragZoom(el, view) {
  views = [...views.filter((known) => known.el.isConnected), { el, ...view }];
  el.addEventListener('pointerdown', (event) => {
    const to = view.target();
    const video = view.picture();
    const marks = marking && shows(view, marking);
    if (!(event.shiftKey || marks) || event.button !== 0 || !to || !video?.videoWidth) return;
    event.preventDefault();
    const box = el.getBoundingClientRect();
    const frame = h('div', { class: 'drag-frame' });
    el.append(frame);
    el.setPointerCapture(event.pointerId);
    const corners = (e) => ({ x1: Math.min(event.clientX, e.clientX) - box.left, y1: Math.min(event.clientY, e.clientY) - box.top, x2: Math.max(event.clientX, e.clientX) - box.left, y2: Math.max(event.clientY, e.clientY) - box.top });
    const move = (e) => {
      const c = corners(e);
      Object.assign(frame.style, { left: `${c.x1}px`, top: `${c.y1}px`, width: `${c.x2 - c.x1}px`, height: `${c.y2 - c.y1}px` });
    };
    const end = (e) => {
      frame.remove();
      for (const [name, listener] of [['pointermove', move], ['pointerup', end], ['pointercancel', end]]) el.removeEventListener(name, listener);
      const area = e.type === 'pointerup' ? areaOf(corners(e), box, video) : null;
      if (!area) return;
      if (marks) { if (marking) endMarking(area); return; }
      gantry('POST', `/device/control/${encodeURIComponent(to.puid)}/${to.index}`, { order: 'dragZoom', closer: !e.altKey, area }).catch(view.failed);
    };
    for (const [name, listener] of [['pointermove', move], ['pointerup', end], ['pointercancel', end]]) el.addEventListener(name, listener);
  });
}

/** A frame on the view as an area of the picture, which stands in the middle of the view with bars around it. */
function areaOf({ x1, y1, x2, y2 }, box, video) {
  const scale = Math.min(box.width / video.videoWidth, box.height / video.videoHeight);
  const length = Math.round(video.videoWidth * scale);
  const width = Math.round(video.videoHeight * scale);
  const inside = (v, offset, max) => Math.min(max, Math.max(0, Math.round(v - offset)));
  const [left, right] = [x1, x2].map((x) => inside(x, (box.width - length) / 2, length));
  const [top, bottom] = [y1, y2].map((y) => inside(y, (box.height - width) / 2, width));
  if (right - left < DRAG_PX_MIN || bottom - top < DRAG_PX_MIN) return null;
  return { length, width, midPointX: Math.round((left + right) / 2), midPointY: Math.round((top + bottom) / 2), lengthX: right - left, lengthY: bottom - top };
}
