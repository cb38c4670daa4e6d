// Requests of devices and the certificates that were issued for them; the list of those that were revoked.

import { call, fetchText } from './api.js';
import { ask } from './ask.js';
import { h, icon } from './dom.js';
import { t } from './i18n.js';
import { Section, chip, cut, facts, field, lastDay, line, moment, mono, pemButtons, pemField, termForm, word } from './cert-section.js';
import { save, validity } from './pem.js';

const BASE = '/28181in/cert/device';
const MOODS = { pending: 'warn', issued: 'good', rejected: '', revoked: 'bad' };

export class Issued extends Section {
  constructor(space) {
    super('issued', space, ['name', 'code', 'serial', 'until', 'state']);
    /** Of certificates that were read, by serial. */
    this.times = new Map();
    const pem = pemField('cert.issued.pem', 'CERTIFICATE REQUEST');
    const name = line('name', { hint: 'cert.name.hint' });
    const device = line('deviceId', { hint: 'cert.issued.device.hint' });
    this.tools.append(word('button', 'cert.issued.crl', { data: { testid: 'crl', tTitle: 'cert.issued.crl.hint' }, title: t('cert.issued.crl.hint'), onclick: () => this.#revocations() }));
    this.addForm([pem.el, h('div', { class: 'cert-fields' }, field('cert.fact.name', name), field('cert.fact.device', device))],
      () => call('POST', `${BASE}/csr`, { pem: pem.area.value, name: name.value.trim(), deviceId: device.value.trim() }));
  }

  /** The newest first. */
  items() { return this.space.requests && [...this.space.requests].reverse(); }
  keyOf(request) { return request.id; }
  stateOf(request) { return request.status; }
  texts(request) { return [request.name, request.deviceId, request.serial]; }
  empty() { return this.space.servers?.some((s) => s.status === 'inuse') ? 'cert.issued.none' : 'cert.issued.first'; }
  cells(request) { return [request.name || request.deviceId, mono(request.deviceId), cut(request.serial), lastDay(this.timesOf(request)?.until), chip(`cert.issued.${request.status}`, MOODS[request.status])]; }

  /** When the certificate of a request is valid; undefined or null without one. */
  timesOf({ serial, certificate }) {
    if (certificate && !this.times.has(serial)) this.times.set(serial, validity(certificate));
    return this.times.get(serial);
  }

  actions(request) {
    const { id, status, deviceId } = request;
    const change = (to) => this.act(id, () => call('PUT', `${BASE}/csr/${id}`, { status: to }));
    const remove = h('button', { class: 'quiet', title: t('delete'), aria: { label: t('delete') }, data: { testid: 'delete' }, onclick: () => this.act(id, () => call('DELETE', `${BASE}/csr/${id}`)) }, icon('trash'));
    return {
      pending: () => [termForm('cert.issued.issue', 'issue', (term) => this.act(id, () => call('POST', `${BASE}/issue/${id}`, term))),
        h('button', { data: { testid: 'reject' }, onclick: () => change('rejected') }, t('cert.issued.reject')), remove],
      issued: () => [
        this.space.devices?.some((d) => d.id === deviceId) ? null : h('button', { class: 'accent', title: t('cert.issued.enrol.hint'), data: { testid: 'enrol' }, onclick: () => this.space.proving.begin(request) }, t('cert.issued.enrol')),
        h('button', { data: { testid: 'certificate' }, onclick: () => save(`${deviceId}.crt`, request.certificate) }, t('cert.download')),
        h('button', { data: { testid: 'revoke' }, onclick: async () => { if (await ask(t('cert.issued.revoke.sure', { name: request.name || deviceId }))) change('revoked'); } }, t('cert.issued.revoke'))],
      rejected: () => [remove],
      revoked: () => [],
    }[status]();
  }

  detail(request) {
    const { id, subject, deviceId, serial, certificate } = request;
    const times = this.timesOf(request);
    const name = line('name', { value: request.name, placeholder: t('cert.name.hint') });
    return h('div', { class: 'cert-detail' },
      h('div', {}, facts([['subject', `CN=${subject}`], ['device', deviceId], ['serial', serial], ['from', times && moment(times.from)], ['until', times && moment(times.until)], ['alg', request.alg]])),
      h('div', {}, h('form', { class: 'line', onsubmit: (e) => { e.preventDefault(); this.act(id, () => call('PUT', `${BASE}/csr/${id}`, { name: name.value.trim() })); } },
        h('span', { class: 'dim' }, t('cert.fact.name')), h('span', { class: 'grow' }), name, h('button', { type: 'submit', data: { testid: 'rename' } }, t('cfg.save'))),
      pemButtons('request', `${deviceId}.csr`, request.pem), pemButtons('certificate', `${deviceId}.crt`, certificate)));
  }

  async #revocations() {
    try {
      save('gantry.crl', await fetchText('/gantry/v1/certificates/crl'));
      this.error = null;
    } catch (error) { this.error = error; }
    this.draw();
  }
}
