// Configuration forms: one description of every type of configuration, and a form made of it.
//
// SETTINGS holds, for each type of ConfigDownload (GB/T 28181-2022, A.2.1), its fields as the REST API has them:
//   [key, kind, {min, max, optional, fixed, of}]
// kind: number, switch (0/1), choice (`of` values with words `cfg.<type>.<key>.<value>`), text, time (three numbers, by their
// prefix), group (an object), list (objects, at most `max`). Fields that only answers have are `fixed`: shown, sent back as
// they came, not changed. A value of none of these kinds that a device sent is sent back as it came.

import { gantry } from './api.js';
import { failure, h, icon } from './dom.js';
import { t } from './i18n.js';

const opt = (limits = {}) => ({ ...limits, optional: true });
const flags = (...keys) => keys.map((key) => [key, 'switch', opt()]);
const stream = ['streamNumber', 'number', { min: 0, max: 255 }];

export const SETTINGS = {
  BasicParam: [
    ['name', 'text', opt({ max: 256 })], ['expiration', 'number', opt({ min: 60, max: 604800 })],
    ['heartBeatInterval', 'number', opt({ min: 5, max: 3600 })], ['heartBeatCount', 'number', opt({ min: 1, max: 255 })]],
  VideoParamOpt: [['downloadSpeed', 'text', opt({ max: 256, fixed: true })], ['resolution', 'text', opt({ max: 256, fixed: true })]],
  VideoParamAttribute: [['streams', 'list', { max: 16, of: [
    stream, ['videoFormat', 'choice', { of: ['1', '2', '3', '4', '5'] }], ['resolution', 'text', { max: 32 }], ['frameRate', 'text', { max: 32 }],
    ['bitRateType', 'choice', { of: ['1', '2'] }], ['videoBitRate', 'text', opt({ max: 32 })]] }]],
  OSDConfig: [
    ['length', 'number', { min: 1, max: 65535 }], ['width', 'number', { min: 1, max: 65535 }], ['timeEnable', 'switch', opt()],
    ['timeType', 'choice', opt({ of: [0, 1] })], ['timeX', 'number', { min: 0, max: 65535 }], ['timeY', 'number', { min: 0, max: 65535 }], ['textEnable', 'switch', opt()],
    ['texts', 'list', { max: 16, of: [['text', 'text', { max: 32 }], ['x', 'number', { min: 0, max: 65535 }], ['y', 'number', { min: 0, max: 65535 }]] }]],
  PictureMask: [['on', 'switch', {}], ['regions', 'list', { max: 4, of: [['seq', 'number', { min: 1, max: 4 }], ['point', 'text', { max: 64 }]] }]],
  FrameMirror: [['mode', 'choice', { of: [0, 1, 2, 3] }]],
  VideoRecordPlan: [['recordEnable', 'switch', {}], stream, ['days', 'list', { max: 7, of: [
    ['weekDayNum', 'choice', { of: [1, 2, 3, 4, 5, 6, 7] }],
    ['segments', 'list', { max: 8, of: [['start', 'time', {}], ['stop', 'time', {}]] }]] }]],
  VideoAlarmRecord: [['recordEnable', 'switch', {}], stream, ['preRecordTime', 'number', opt({ min: 0, max: 3600 })], ['recordTime', 'number', opt({ min: 0, max: 86400 })]],
  AlarmReport: [['motionDetection', 'switch', {}], ['fieldDetection', 'switch', {}]],
  SVACEncodeConfig: [
    ['regions', 'group', opt({ of: [...flags('flag'), ['items', 'list', { max: 16, of: [
      ['seq', 'number', opt({ min: 1, max: 16 })], ['topLeft', 'number', opt({ min: 0 })], ['bottomRight', 'number', opt({ min: 0 })], ['quality', 'number', opt({ min: 0, max: 3 })]] }]] })],
    ['layers', 'group', opt({ of: [['spaceDomainMode', 'number', { min: 0, max: 3 }], ['timeDomainMode', 'number', { min: 0, max: 3 }], ['ratioValue', 'text', opt({ max: 64 })]] })],
    ['surveillance', 'group', opt({ of: flags('timeFlag', 'osdFlag', 'aiFlag', 'gisFlag') })],
    ['audio', 'group', opt({ of: [['recognitionFlag', 'switch', {}]] })]],
  SVACDecodeConfig: [
    ['layers', 'group', opt({ of: [['mode', 'number', opt({ min: 0, max: 3 })]] })],
    ['surveillance', 'group', opt({ of: flags('timeFlag', 'osdFlag', 'aiFlag', 'gisFlag') })]],
};

const pad2 = (n) => String(n ?? 0).padStart(2, '0');
/** Words of a field: those of its type if it has some, else the common ones. */
function label(type, key) {
  const own = `cfg.${type}.${key}`;
  return t(own) === own ? t(`cfg.${key}`) : t(own);
}

/** A new item of a list or group: the smallest values that are allowed. */
function blank(fields) {
  const value = {};
  for (const [key, kind, rule] of fields) {
    if (kind === 'time') Object.assign(value, { [`${key}Hour`]: key === 'stop' ? 23 : 0, [`${key}Min`]: key === 'stop' ? 59 : 0, [`${key}Sec`]: key === 'stop' ? 59 : 0 });
    else if (rule.optional) continue;
    else value[key] = { number: rule.min ?? 0, switch: 0, choice: rule.of?.[0], text: '', list: [] }[kind];
  }
  return value;
}

/** The form of one type for one channel: asks the device for its values, shows them, sends them. */
export class SettingsForm {
  constructor(type, puid, index) {
    this.type = type;
    this.where = `${encodeURIComponent(puid)}/${index}`;
    this.el = h('form', { class: 'settings', noValidate: false, data: { testid: `settings-${type}` }, onsubmit: (e) => { e.preventDefault(); this.#save(); } }, h('p', { class: 'dim' }, t('loading')));
    this.load();
  }

  async load() {
    try {
      const { config } = await gantry('POST', `/device/query/${this.where}`, { query: 'config', types: [this.type] });
      const found = (config ?? []).find((c) => c[this.type]);
      this.value = found ? found[this.type] : blank(SETTINGS[this.type]);
      this.told = Boolean(found);
      this.#draw();
    } catch (error) {
      this.el.replaceChildren(failure(error), h('button', { type: 'button', onclick: () => this.load() }, t('tile.retry')));
    }
  }

  async #save() {
    this.notice.replaceChildren(h('span', { class: 'dim' }, t('cfg.sending')));
    try {
      await gantry('PUT', `/device/settings/${this.where}`, { [this.type]: this.value });
      this.notice.replaceChildren(h('span', { class: 'done', data: { testid: 'saved' } }, t('cfg.saved')));
    } catch (error) { this.notice.replaceChildren(failure(error)); }
  }

  #draw() {
    const fields = SETTINGS[this.type];
    const readOnly = fields.every(([, , rule]) => rule.fixed);
    this.el.replaceChildren(
      this.told ? '' : h('p', { class: 'dim small' }, t('cfg.untold')),
      ...this.#fields(fields, this.value),
      this.notice = h('div', { role: 'status', class: 'cfg-notice' }),
      readOnly ? '' : h('div', { class: 'line' }, h('span', { class: 'grow' }),
        h('button', { type: 'button', class: 'quiet text', onclick: () => this.load() }, t('cfg.again')), h('button', { type: 'submit', class: 'accent', data: { testid: 'save' } }, t('cfg.save'))));
  }

  #fields(fields, value) { return fields.map(([key, kind, rule]) => this.#field(key, kind, rule, value)); }

  #field(key, kind, rule, value) {
    if (kind === 'list') return this.#list(key, rule, value);
    if (kind === 'group') return this.#group(key, rule, value);
    return h('label', { class: 'field' }, h('span', {}, label(this.type, key)), kind === 'time' ? this.#time(key, value) : this.#input(key, kind, rule, value));
  }

  #input(key, kind, rule, value) {
    const common = { data: { field: key }, disabled: rule.fixed, required: !rule.optional };
    const put = (next) => { if (next === '' || Number.isNaN(next)) delete value[key]; else value[key] = next; };
    if (kind === 'switch') return h('input', { ...common, required: false, type: 'checkbox', checked: Number(value[key]) === 1, onchange: (e) => put(e.target.checked ? 1 : 0) });
    if (kind === 'choice') {
      const known = rule.of.some((x) => String(x) === String(value[key]));
      const rest = known || value[key] === undefined ? [] : [value[key]];
      const values = [...(rule.optional ? [''] : []), ...rest, ...rule.of];
      return h('select', { ...common, onchange: (e) => put(e.target.value === '' || typeof rule.of[0] === 'string' ? e.target.value : Number(e.target.value)) }, values.map((x) => {
        const word = t(`cfg.${this.type}.${key}.${x}`);
        return h('option', { value: x, selected: String(x) === String(value[key] ?? '') }, x === '' ? '–' : word.startsWith('cfg.') ? String(x) : word);
      }));
    }
    if (kind === 'number') return h('input', { ...common, type: 'number', min: rule.min, max: rule.max, value: value[key] ?? '', oninput: (e) => put(e.target.value === '' ? '' : Number(e.target.value)) });
    return h('input', { ...common, type: 'text', maxLength: rule.max ?? 256, value: value[key] ?? '', oninput: (e) => (rule.optional ? put(e.target.value) : (value[key] = e.target.value)) });
  }

  #time(key, value) {
    const names = ['Hour', 'Min', 'Sec'].map((part) => `${key}${part}`);
    return h('input', { type: 'time', step: 1, required: true, value: names.map((n) => pad2(value[n])).join(':'),
      oninput: (e) => e.target.value.split(':').forEach((part, i) => { value[names[i]] = Number(part); }) });
  }

  #group(key, rule, value) {
    const has = value[key] !== undefined && value[key] !== null;
    return h('fieldset', {}, h('legend', {}, h('label', { class: 'check' },
      h('input', { type: 'checkbox', checked: has, data: { field: key }, onchange: (e) => { if (e.target.checked) value[key] = blank(rule.of); else delete value[key]; this.#draw(); } }), h('span', {}, label(this.type, key)))),
    has ? this.#fields(rule.of, value[key]) : []);
  }

  #list(key, rule, value) {
    const items = value[key] ??= [];
    return h('fieldset', { data: { list: key } }, h('legend', {}, label(this.type, key)),
      items.map((item, i) => h('div', { class: 'item' }, h('div', {}, this.#fields(rule.of, item)),
        h('button', { type: 'button', class: 'quiet', title: t('delete'), aria: { label: t('delete') }, onclick: () => { items.splice(i, 1); this.#draw(); } }, icon('trash')))),
      items.length < rule.max ? h('button', { type: 'button', class: 'quiet text', data: { testid: `add-${key}` }, onclick: () => { items.push(blank(rule.of)); this.#draw(); } }, t('cfg.add')) : []);
  }
}
