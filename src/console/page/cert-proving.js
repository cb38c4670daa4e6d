// Devices that must prove themselves with a certificate: whether they did, and why one was refused last.
//
// The node tells when it refused a device and when it heard of it last; the later of the two is how it stands. A device that was
// online with its password when it was switched on counts as let in by its certificate only once it was heard of after that.

import { call } from './api.js';
import { ask } from './ask.js';
import { h, icon } from './dom.js';
import { lang, t } from './i18n.js';
import { Section, chip, cut, facts, field, lastDay, line, moment, mono } from './cert-section.js';

const BASE = '/28181in/gmdevice';
const MOODS = { certified: 'good', unproven: 'warn', ending: 'warn', refused: 'bad', offline: '', password: '' };
/** Devices that are asked about one by one at a time; there are more only after a restart of the node, and for seconds. */
const ASKED_MAX = 50;

export class Proving extends Section {
  constructor(space) {
    super('proving', space, ['name', 'code', 'certificate', 'state', 'must']);
    /** Devices of the list, by id. */
    this.listed = new Map();
    /** When a device was heard of, in Unix s, where that was asked for: the list of devices may be older. */
    this.heard = new Map();
    /** After which refusal that was asked: of one that is offline once is enough. */
    this.asked = new Map();
    /** Of devices that were online when they were switched on: when they had been heard of. */
    this.unproven = new Map();
    this.codes = h('datalist', { id: 'cert-codes' });
    this.id = line('id', { required: true });
    this.id.setAttribute('list', this.codes.id);
    this.named = line('name', { hint: 'cert.name.hint' });
    this.module = line('cryptoModuleId', { hint: 'cert.optional' });
    this.must = h('input', { type: 'checkbox', checked: true, data: { field: 'status' } });
    this.must.defaultChecked = true;
    const must = h('label', { class: 'check' }, this.must, h('span', { data: { t: 'cert.proving.must' } }, t('cert.proving.must')));
    this.addForm([h('div', { class: 'cert-fields' }, field('cert.fact.device', this.id), field('cert.fact.name', this.named), field('cert.fact.module', this.module)), this.codes, must], async () => {
      const id = this.id.value.trim();
      const create = () => call('POST', `${BASE}/create`, { id, name: this.named.value.trim(), cryptoModuleId: this.module.value.trim(), level: 'A', status: Number(this.must.checked) });
      await (this.must.checked ? this.#demand(id, create) : create());
    });
  }

  items() { return this.space.devices; }
  keyOf(device) { return device.id; }
  texts(device) { return [device.name, device.id, device.certSerial]; }
  empty() { return this.space.requests?.some((r) => r.status === 'issued') ? 'cert.proving.none' : 'cert.proving.first'; }

  /** The form, filled with what a certificate was issued for. */
  begin({ deviceId, name }) {
    this.showForm(true);
    this.id.value = deviceId;
    this.named.value = name;
    this.form.scrollIntoView({ block: 'nearest' });
    this.form.querySelector('[type=submit]').focus();
  }

  #isOnline(id) { return Number(this.listed.get(`PU_${id}`)?.status) === 1; }
  #heardAt(id) { return Math.max(this.heard.get(id) ?? 0, Number(this.listed.get(`PU_${id}`)?.lastTime ?? 0)); }
  /** Whether it was refused after it was heard of. */
  #wasRefused({ id, refusedTime }) { return Boolean(refusedTime) && Math.floor(refusedTime / 1000) > this.#heardAt(id); }

  stateOf(device) {
    const { id, status } = device;
    if (!status) return 'password';
    if (this.#wasRefused(device)) return 'refused';
    if (!this.#isOnline(id)) return 'offline';
    if (this.#requestOf(device)?.status === 'revoked') return 'ending';
    return this.unproven.has(id) ? 'unproven' : 'certified';
  }

  /** Takes in how devices stand, and asks about those of which the list of devices does not tell enough. */
  async listen() {
    this.#take();
    const unsure = (this.space.devices ?? []).filter((d) => d.status && (this.#isOnline(d.id) ? this.unproven.has(d.id) || this.#wasRefused(d) : this.#wasRefused(d) && this.asked.get(d.id) !== d.refusedTime));
    await Promise.all(unsure.slice(0, ASKED_MAX).map(async ({ id, refusedTime }) => {
      this.heard.set(id, (await heard(id)).lastTime);
      this.asked.set(id, refusedTime);
    }));
    for (const [id, before] of this.unproven) if (!this.#isOnline(id) || this.#heardAt(id) > before) this.unproven.delete(id);
  }

  #take() { this.listed = new Map(this.space.hooks.devices().map((d) => [d.id, d])); }

  /** Lets `change` demand a proof of a device from now on; one that is online has not given it. */
  async #demand(id, change) {
    const { online, lastTime } = await heard(id);
    await change();
    if (online) this.unproven.set(id, lastTime);
  }

  draw() {
    this.drawn = this.#sight();
    const issued = (this.space.requests ?? []).filter((r) => r.status === 'issued').map((r) => r.deviceId);
    const there = new Set((this.space.devices ?? []).map((d) => d.id));
    this.codes.replaceChildren(...[...new Set(issued)].filter((id) => !there.has(id)).map((id) => h('option', { value: id })));
    super.draw();
  }

  /** Draws again where what is shown has changed, but not under the hands of who types. */
  update() {
    this.#take();
    if (this.#sight() !== this.drawn && !this.body.contains(document.activeElement?.closest('input[type=text]'))) this.draw();
  }

  #sight() { return JSON.stringify([this.space.devices, this.space.devices?.map((d) => this.stateOf(d)), this.error?.message]); }

  #requestOf({ id, certSerial }) { return this.space.requests?.find((r) => r.deviceId === id && r.serial === certSerial); }

  cells(device) {
    const request = this.#requestOf(device);
    const state = this.stateOf(device);
    return [device.name || device.id, mono(device.id), [cut(device.certSerial), request?.status === 'revoked' ? chip('cert.issued.revoked', 'bad') : null], chip(`cert.proving.${state}`, MOODS[state]),
      h('input', { type: 'checkbox', checked: Boolean(device.status), title: t('cert.proving.must'), aria: { label: t('cert.proving.must') }, data: { testid: 'must' }, onchange: (e) => this.#switch(device, e.target.checked) })];
  }

  #switch({ id }, on) {
    const change = () => call('PUT', `${BASE}/${id}`, { status: Number(on) });
    this.act(id, on ? () => this.#demand(id, change) : change);
  }

  actions({ id, name }) {
    return [h('button', { class: 'quiet', title: t('delete'), aria: { label: t('delete') }, data: { testid: 'delete' }, onclick: async () => {
      if (await ask(t('cert.proving.delete.sure', { name: name || id }))) this.act(id, () => call('DELETE', `${BASE}/${id}`));
    } }, icon('trash'))];
  }

  /** The last refusal: with its colour while it is how the device stands. */
  note(device) {
    if (!device.refused) return null;
    const now = this.stateOf(device) === 'refused';
    return h('p', { class: now ? 'failure' : 'cert-past', data: { testid: 'refused' } }, now ? icon('warn') : null,
      h('span', {}, t(now ? 'cert.proving.last' : 'cert.proving.past', { at: moment(device.refusedTime) }), ' ', device[lang()], ' ', h('span', { class: 'mono' }, `(${device.refused})`)));
  }

  detail(device) {
    const request = this.#requestOf(device);
    const until = request && this.space.issued.timesOf(request)?.until;
    const name = line('name', { value: device.name, placeholder: t('cert.name.hint') });
    const module = line('cryptoModuleId', { value: device.cryptoModuleId, placeholder: t('cert.optional') });
    const row = (key, input) => h('label', { class: 'line' }, h('span', { class: 'dim' }, t(key)), h('span', { class: 'grow' }), input);
    return h('div', { class: 'cert-detail' },
      h('div', {}, facts([['device', device.id], ['level', device.level], ['serial', device.certSerial], ['until', until && lastDay(until)], ['module', device.cryptoModuleId]])),
      h('form', { onsubmit: (e) => { e.preventDefault(); this.act(device.id, () => call('PUT', `${BASE}/${device.id}`, { name: name.value.trim(), cryptoModuleId: module.value.trim() })); } },
        row('cert.fact.name', name), row('cert.fact.module', module), h('div', { class: 'line' }, h('span', { class: 'grow' }), h('button', { type: 'submit', data: { testid: 'save' } }, t('cfg.save')))));
  }
}

/** Whether a device is online and when it was heard of; one that the node does not know is offline. */
async function heard(id) {
  try {
    const { data } = await call('GET', `/pu/onlinestatus/PU_${encodeURIComponent(id)}`);
    return { online: Number(data.status) === 1, lastTime: Number(data.lastTime) };
  } catch {
    return { online: false, lastTime: 0 };
  }
}
