// This node's own keys and certificates: made, signed by themselves or by an authority elsewhere, one of them in use.

import { call } from './api.js';
import { ask } from './ask.js';
import { failure, h, icon } from './dom.js';
import { t } from './i18n.js';
import { Section, chip, cut, facts, field, lastDay, line, moment, mono, pemButtons, pemField, termForm } from './cert-section.js';

const BASE = '/28181in/cert/server';
const MOODS = { request: 'warn', idle: '', inuse: 'good' };

export class Own extends Section {
  constructor(space) {
    super('own', space, ['name', 'code', 'serial', 'until', 'state']);
    const name = line('name', { hint: 'cert.name.hint' });
    const subject = line('subject', { hint: 'cert.own.subject.hint' });
    this.addForm(h('div', { class: 'cert-fields' }, field('cert.fact.name', name), field('cert.own.subject', subject)), async () => {
      const { data } = await call('POST', `${BASE}/csr`, { name: name.value.trim(), subject: subject.value.trim() });
      this.open.add(data.id);
    });
  }

  items() { return this.space.servers; }
  keyOf(server) { return server.id; }
  stateOf(server) { return server.status; }
  texts(server) { return [server.name, server.subject, server.serial]; }
  empty() { return 'cert.own.none'; }
  cells(server) { return [server.name || server.subject, mono(server.subject), cut(server.serial), lastDay(server.notAfter * 1000), chip(`cert.own.${server.status}`, MOODS[server.status])]; }

  #sign(server, key, accent) {
    return termForm(key, 'sign', (term) => this.act(server.id, async () => {
      await call('POST', `${BASE}/selfsign/${server.id}`, term);
      this.open.delete(server.id);
    }), accent);
  }

  actions(server) {
    const inUse = server.status === 'inuse';
    return [
      server.status === 'request' ? this.#sign(server, 'cert.own.sign', true) : null,
      // What a key has already is installed once more: so it comes into use.
      server.status === 'idle' ? h('button', { data: { testid: 'use' }, onclick: () => this.act(server.id, () => call('PUT', `${BASE}/${server.id}`, { pem: server.pem })) }, t('cert.own.use')) : null,
      h('button', { class: 'quiet', disabled: inUse, title: t(inUse ? 'cert.own.keep' : 'delete'), aria: { label: t('delete') }, data: { testid: 'delete' }, onclick: async () => {
        if (await ask(t('cert.own.delete.sure', { name: server.name || server.subject }))) this.act(server.id, () => call('DELETE', `${BASE}/${server.id}`));
      } }, icon('trash')),
    ];
  }

  detail(server) {
    const { pem, csr, subject } = server;
    return h('div', { class: 'cert-detail' },
      h('div', {}, facts([['subject', subject && `CN=${subject}`], ['issuer', server.issuer && `CN=${server.issuer}${server.issuer === subject ? ` (${t('cert.own.self')})` : ''}`], ['serial', server.serial],
        ['from', server.notBefore && moment(server.notBefore * 1000)], ['until', server.notAfter && moment(server.notAfter * 1000)], ['alg', server.alg]]),
      pemButtons('request', `${subject}.csr`, csr), pemButtons('certificate', `${subject}.crt`, pem)),
      h('div', {}, this.#rename(server), pem ? h('div', { class: 'line' }, h('span', { class: 'dim' }, t('cert.own.renew')), h('span', { class: 'grow' }), this.#sign(server, 'cert.own.again', false)) : null, this.#install(server)));
  }

  #rename(server) {
    const name = line('name', { value: server.name, placeholder: t('cert.name.hint') });
    return h('form', { class: 'line', onsubmit: (e) => { e.preventDefault(); this.act(server.id, () => call('PUT', `${BASE}/${server.id}`, { name: name.value.trim() })); } },
      h('span', { class: 'dim' }, t('cert.fact.name')), h('span', { class: 'grow' }), name, h('button', { type: 'submit', data: { testid: 'rename' } }, t('cfg.save')));
  }

  /** For a certificate that an authority elsewhere issued for the request. */
  #install(server) {
    const pem = pemField('cert.own.install.hint', 'CERTIFICATE');
    const result = h('div', { role: 'status' });
    return h('details', { class: 'fold', data: { testid: 'install' } }, h('summary', {}, t('cert.own.install')), h('form', { class: 'settings', onsubmit: async (e) => {
      e.preventDefault();
      try {
        await call('PUT', `${BASE}/${server.id}`, { pem: pem.area.value });
        await this.space.load();
      } catch (error) { result.replaceChildren(failure(error)); }
    } }, pem.el, result, h('div', { class: 'line' }, h('span', { class: 'grow' }), h('button', { type: 'submit', class: 'accent', data: { testid: 'install-send' } }, t('cert.own.install.send')))));
  }
}
