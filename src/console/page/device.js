// One device: what it is, how it is, what it can be ordered to do, how it is treated, and its configuration.
//
// The device is asked only for what is opened: its status when the panel opens, each type of configuration when its row is
// unfolded. What needs an answer says that it waits, and shows the node's sentence where it failed.

import { call, device as deviceInfo, fetchAs, gantry } from './api.js';
import { ask } from './ask.js';
import { failure, h, icon } from './dom.js';
import { lang, onLang, t } from './i18n.js';
import { SETTINGS, SettingsForm } from './settings.js';

/** Policies of a device and what each can be forced to; null: an address is typed. */
const POLICIES = {
  transport: ['udp', 'tcp-passive', 'tcp-active'], media_ip: null, foreign_ssrc: ['switch', 'refuse'], loss: ['hold-back', 'show'],
  charset: ['gb2312', 'utf8'], owner: ['channel', 'platform'], missing_sdp: ['assume', 'refuse'], tcp_role: ['tolerate', 'refuse'], moved: ['same-ip', 'any-ip'], teardown: ['send', 'skip'],
};
/** Megabytes of a card in a gigabyte, as devices count. */
const GB = 1024;
const DAY_MS = 86_400_000;
/** Between two questions to the node how far an upgrade is. */
const UPGRADE_POLL_MS = 1500;
/** How long the first picture may take. */
const SNAPSHOT_WAIT_MS = 20_000;

export class DevicePanel {
  /** `feeds`: the alarms and notices as they come. */
  constructor(feeds) {
    this.feeds = feeds;
    this.el = h('div', { class: 'device', data: { testid: 'device' } });
    onLang(() => { if (this.target) { const { target } = this; this.key = ''; this.show(target); } });
  }

  /** Shows a device; `index` is the channel that channel-wise orders and settings go to. */
  show(target) {
    const key = target && `${target.puid}/${target.index}/${target.online}`;
    if (key === this.key) return;
    this.key = key;
    this.target = target;
    if (!target) return this.el.replaceChildren(h('p', { class: 'dim' }, t('dev.nothing')));
    const { puid, index, online } = target;
    this.where = `${encodeURIComponent(puid)}/${index ?? '-'}`;
    this.el.replaceChildren(...[
      h('p', { class: 'panel-name' }, target.deviceName, target.index === undefined || target.name === target.deviceName ? null : h('span', { class: 'dim' }, ` ${target.name}`)),
      h('p', { class: 'dim num code' }, [puid, index].filter((x) => x !== undefined).join(' / ')),
      online ? '' : h('p', { class: 'reason' }, icon('info'), h('span', {}, t('ptz.offline'))),
      this.info = h('section', { data: { testid: 'dev-info' } }), this.status = h('section', { data: { testid: 'dev-status' } }),
      this.#orders(online), this.#security(), this.#policy(), this.#subscriptions(), online ? this.#alarms() : '', this.#folded('notices', () => this.feeds.notices.kept(puid)), online ? this.#snapshot() : '', this.#upgrade(online), this.#configuration(online)].flat());
    this.#loadInfo();
    if (online) this.#loadStatus();
  }

  async #loadInfo() {
    const { target } = this;
    const title = h('h3', {}, t('dev.info'));
    try {
      const got = await deviceInfo(target.puid);
      if (this.target !== target) return;
      this.info.replaceChildren(title, list(facts(got)));
    } catch (error) { if (this.target === target) this.info.replaceChildren(title, failure(error)); }
  }

  async #loadStatus() {
    const { target, where } = this;
    const title = h('h3', {}, h('span', {}, t('dev.status')), h('span', { class: 'grow' }),
      h('button', { class: 'quiet', title: t('dev.again'), aria: { label: t('dev.again') }, onclick: () => this.#loadStatus() }, icon('retry')));
    this.status.replaceChildren(title, h('p', { class: 'dim' }, t('dev.asking')));
    try {
      const { deviceStatus: s } = await gantry('POST', `/device/query/${where}`, { query: 'deviceStatus' });
      if (this.target !== target) return;
      const guard = [...new Set((s.alarms ?? []).map((a) => a.dutyStatus))].map((duty) => t(`dev.duty.${duty}`)).join(', ');
      this.status.replaceChildren(title, list([['dev.state', [s.status, s.reason].filter(Boolean).join(' ')], ['dev.encode', s.encode && t(`dev.${s.encode}`)], ['dev.record', s.record && t(`dev.${s.record}`)],
        ['dev.guard', guard], ['dev.time', s.deviceTime]]));
    } catch (error) { if (this.target === target) this.status.replaceChildren(title, failure(error)); }
  }

  // ---- orders ----

  #orders(online) {
    const { target, where } = this;
    const order = (body) => () => gantry('POST', `/device/control/${where}`, body);
    const record = (verb) => () => call('POST', `/pu/record/${verb}/${encodeURIComponent(target.puid)}/${target.index ?? 0}`, {});
    const result = h('div', { role: 'status', data: { testid: 'order-result' } });
    const button = (name, work, { confirm = false, again = false } = {}) => h('button', { disabled: !online, data: { testid: `order-${name}` }, onclick: async () => {
      if (confirm && !(await ask(t(`order.${name}.sure`, { name: target.deviceName })))) return;
      result.replaceChildren(h('p', { class: 'dim' }, t('dev.asking')));
      try {
        await work();
        result.replaceChildren(h('p', { class: 'done' }, t('order.done', { order: t(`order.${name}`) })));
        if (again) this.#loadStatus();
      } catch (error) { result.replaceChildren(failure(error)); }
    } }, t(`order.${name}`));
    return h('section', {}, h('h3', {}, t('dev.orders')), h('div', { class: 'buttons' },
      button('record.start', record('start'), { again: true }), button('record.stop', record('stop'), { again: true }),
      button('guard.set', order({ order: 'guard', set: true }), { again: true }), button('guard.reset', order({ order: 'guard', set: false }), { again: true }),
      button('alarm.reset', order({ order: 'resetAlarm' })), button('keyframe', order({ order: 'keyFrame' })),
      button('reboot', () => call('POST', `/pu/reboot/${encodeURIComponent(target.puid)}`, {}), { confirm: true })), result);
  }

  // ---- how it signs in ----

  #security() {
    const path = `/devices/${encodeURIComponent(this.target.puid)}/auth`;
    const result = h('div', { role: 'status', data: { testid: 'auth-result' } });
    const password = h('input', { type: 'password', autocomplete: 'new-password', maxLength: 64, minLength: 1, placeholder: t('auth.password'), aria: { label: t('auth.password') }, data: { testid: 'auth-password' }, hidden: true });
    const kind = h('select', { aria: { label: t('auth.kind') }, data: { testid: 'auth-kind' }, onchange: () => { password.hidden = kind.value !== 'password'; password.required = !password.hidden; } },
      ['default', 'password', 'none'].map((x) => h('option', { value: x }, t(`auth.${x}`))));
    const save = async (event) => {
      event.preventDefault();
      try {
        await gantry('PUT', path, { kind: kind.value, ...(kind.value === 'password' && { password: password.value }) });
        password.value = '';
        result.replaceChildren(h('p', { class: 'done' }, t('auth.saved')));
      } catch (error) { result.replaceChildren(failure(error)); }
    };
    return this.#folded('auth', () => h('form', { class: 'settings', onsubmit: save }, h('p', { class: 'dim small' }, t('auth.hint')),
      h('div', { class: 'line' }, kind, password, h('button', { type: 'submit', class: 'accent', data: { testid: 'auth-save' } }, t('cfg.save'))), result));
  }

  // ---- how it is treated ----

  #policy() {
    const path = `/devices/${encodeURIComponent(this.target.puid)}/policy`;
    return this.#folded('policy', () => {
      const box = h('form', { class: 'settings', data: { testid: 'policy-form' } }, h('p', { class: 'dim' }, t('loading')));
      gantry('GET', path).then((policy) => {
        const result = h('div', { role: 'status' });
        box.onsubmit = async (event) => {
          event.preventDefault();
          try {
            await gantry('PUT', path, policy);
            result.replaceChildren(h('p', { class: 'done', data: { testid: 'policy-saved' } }, t('policy.saved')));
          } catch (error) { result.replaceChildren(failure(error)); }
        };
        box.replaceChildren(h('p', { class: 'dim small' }, t('policy.hint')), ...Object.entries(POLICIES).map(([name, words]) => h('label', { class: 'field' }, h('span', {}, t(`policy.${name}`)),
          words ? h('select', { data: { field: name }, onchange: (e) => { policy[name] = e.target.value; } }, ['auto', ...words].map((w) => h('option', { value: w, selected: w === policy[name] }, w === 'auto' ? t('transport.auto') : t(`policy.${name}.${w}`))))
            : h('input', { data: { field: name }, placeholder: t('transport.auto'), value: policy[name] === 'auto' ? '' : policy[name], oninput: (e) => { policy[name] = e.target.value.trim() || 'auto'; } }))),
        result, h('div', { class: 'line' }, h('span', { class: 'grow' }), h('button', { type: 'submit', class: 'accent', data: { testid: 'policy-save' } }, t('cfg.save'))));
      }, (error) => box.replaceChildren(failure(error)));
      return box;
    });
  }

  // ---- what it tells by itself ----

  #subscriptions() {
    const path = `/devices/${encodeURIComponent(this.target.puid)}/subscriptions`;
    return this.#folded('subs', () => {
      const box = h('div', { data: { testid: 'subs' } }, h('p', { class: 'dim' }, t('loading')));
      const load = async () => {
        try {
          const { data } = await gantry('GET', path);
          // Of a recorder or a lower platform single channels can be subscribed to: the one that is chosen, and those that are.
          const change = async ({ topic, channel }, on) => {
            const query = channel === undefined ? '' : `?channel=${channel}`;
            try { await gantry(on ? 'PUT' : 'DELETE', `${path}/${topic}${query}`, on ? {} : undefined); await load(); } catch (error) { box.append(failure(error)); }
          };
          const { index, channels, name: chosen } = this.target;
          if (index !== undefined && channels > 1) for (const topic of ['alarm', 'position', 'ptz']) if (!data.some((s) => s.topic === topic && s.channel === index)) data.push({ topic, channel: index, state: 'none' });
          const name = (s) => (s.channel === undefined ? t(`sub.${s.topic}`) : `${t(`sub.${s.topic}`)} · ${s.channel === index ? chosen : `#${s.channel}`}`);
          const field = (s) => (s.channel === undefined ? s.topic : `${s.topic}-${s.channel}`);
          box.replaceChildren(...data.map((s) => h('label', { class: 'field' }, h('span', {}, name(s)), h('span', { class: 'line' },
            h('input', { type: 'checkbox', checked: s.state !== 'none', data: { field: field(s) }, onchange: (e) => change(s, e.target.checked) }), h('span', { class: 'dim' }, [t(`sub.${s.state}`), s.status].filter(Boolean).join(' '))))));
        } catch (error) { box.replaceChildren(failure(error)); }
      };
      load();
      return box;
    });
  }

  /** The device takes pictures itself and uploads them to the node (SnapShotConfig). They are shown as they come. */
  #snapshot() {
    const { puid, index } = this.target;
    return this.#folded('snap', () => {
      const result = h('div', { role: 'status', data: { testid: 'snap-result' } });
      const number = (name, max, value) => h('input', { type: 'number', min: 1, max, value, required: true, data: { field: name } });
      const [count, interval] = [number('snapNum', 10, 1), number('interval', 86_400, 1)];
      const take = async (event) => {
        event.preventDefault();
        const wanted = Number(count.value);
        const until = Date.now() + SNAPSHOT_WAIT_MS + (wanted - 1) * Number(interval.value) * 1000;
        result.replaceChildren(h('p', { class: 'dim' }, t('dev.asking')));
        try {
          const { data: order } = await call('POST', `/pu/snapshot/${encodeURIComponent(puid)}/${index ?? 0}`, { picCount: wanted, interval: Number(interval.value) * 1000 });
          const id = encodeURIComponent(order.id);
          let shown = 0;
          while (result.isConnected) {
            const info = await gantry('GET', `/snapshots/${id}`);
            const { received = 0, state, detail } = info.data ?? info;
            for (; shown < received; shown++) {
              const url = URL.createObjectURL(await (await fetchAs(`/gantry/v1/snapshots/${id}/${shown + 1}`)).blob());
              if (shown === 0) result.replaceChildren();
              result.append(h('img', { class: 'snap', src: url, alt: `${t('fold.snap')} ${shown + 1}`, data: { testid: 'snap' } }));
            }
            if (shown >= wanted) return;
            if (state === 'failed') throw Object.assign(new Error(detail || state), { code: 1 });
            if (Date.now() > until) throw Object.assign(new Error(t('snap.none')), { code: 6 });
            await new Promise((resolve) => setTimeout(resolve, 1000));
          }
        } catch (error) { result.append(failure(error)); }
      };
      const field = (key, el) => h('label', { class: 'field' }, h('span', {}, t(key)), el);
      return h('form', { class: 'settings', onsubmit: take }, field('cfg.snapNum', count), field('cfg.interval', interval),
        h('div', { class: 'line' }, h('span', { class: 'grow' }), h('button', { type: 'submit', class: 'accent', data: { testid: 'snap-take' } }, t('snap.take'))), result);
    });
  }

  /** Asks for the alarms that the device remembers: it answers that it has understood, and raises them again. */
  #alarms() {
    const { target, where } = this;
    return this.#folded('alarms', () => {
      const result = h('div', { role: 'status', data: { testid: 'alarms-result' } });
      const found = h('ul', { class: 'alarm-list', data: { testid: 'alarms-found' } });
      const day = (offset) => { const d = new Date(Date.now() + offset - new Date().getTimezoneOffset() * 60_000); return d.toISOString().slice(0, 16); };
      const from = h('input', { type: 'datetime-local', value: day(-DAY_MS), data: { field: 'startAlarmTime' } });
      const until = h('input', { type: 'datetime-local', value: day(60_000), data: { field: 'endAlarmTime' } });
      const level = h('select', { data: { field: 'priority' } }, [h('option', { value: '' }, t('alarm.any')), ...[1, 2, 3, 4].map((n) => h('option', { value: n }, t('alarm.upto', { n })))]);
      const method = h('select', { data: { field: 'alarmMethod' } }, [h('option', { value: '' }, t('alarm.any')), ...[1, 2, 3, 4, 5, 6, 7].map((n) => h('option', { value: n }, t(`alarm.${n}`)))]);
      const send = async (event) => {
        event.preventDefault();
        found.replaceChildren();
        this.heard?.();
        const end = this.heard = this.feeds.alarms.listen((a) => {
          if (!found.isConnected) return end();
          if (a.puid !== target.puid) return;
          found.append(h('li', { class: `level-${a.level}`, data: { testid: 'alarm-found' } }, h('span', { class: 'alarm-level num' }, a.level ? String(a.level) : '–'),
            h('div', { class: 'alarm-text' }, h('b', {}, a.what()), h('span', { class: 'dim num' }, [a.told.replace('T', ' '), a.index >= 0 ? `/ ${a.index}` : ''].filter(Boolean).join(' ')))));
          result.replaceChildren(h('p', { class: 'done' }, t('alarm.came', { n: found.childElementCount })));
        });
        result.replaceChildren(h('p', { class: 'dim' }, t('dev.asking')));
        const seconds = (el) => (el.value ? `${el.value}:00` : undefined);
        try {
          await gantry('POST', `/device/query/${where}`, { query: 'alarms', startAlarmTime: seconds(from), endAlarmTime: seconds(until), ...(level.value && { startAlarmPriority: 1, endAlarmPriority: Number(level.value) }), ...(method.value && { alarmMethod: method.value }) });
          if (!found.childElementCount) result.replaceChildren(h('p', { class: 'done' }, t('alarm.asked')));
        } catch (error) {
          end();
          result.replaceChildren(failure(error));
        }
      };
      const field = (key, el) => h('label', { class: 'field' }, h('span', {}, t(key)), el);
      return h('form', { class: 'settings', onsubmit: send }, field('alarm.from', from), field('alarm.until', until), field('alarm.priority', level), field('alarm.method', method),
        h('div', { class: 'line' }, h('span', { class: 'grow' }), h('button', { type: 'submit', class: 'accent', data: { testid: 'alarms-ask' } }, t('alarm.ask'))), result, found);
    });
  }

  /** New software, which the device fetches by itself. It is followed to its end, whoever began it. */
  #upgrade(online) {
    const { target } = this;
    const id = encodeURIComponent(target.puid);
    return this.#folded('upgrade', () => {
      const result = h('div', { role: 'status', data: { testid: 'upgrade-result' } });
      const fields = ['firmware', 'fileUrl', 'manufacturer'].map((name) => h('input', { type: 'text', required: name !== 'manufacturer', maxLength: 512, data: { field: name } }));
      const button = h('button', { type: 'submit', class: 'accent', disabled: !online, data: { testid: 'upgrade-send' } }, t('upgrade.send'));
      let turn;
      const follow = async () => {
        const mine = turn = Symbol('upgrade');
        while (turn === mine) {
          const { data: s } = await call('GET', `/pu/upgrade/status/${id}`);
          const at = s.finishTime ? new Date(s.finishTime * 1000).toLocaleString(lang() === 'zh' ? 'zh-CN' : 'en-GB') : '';
          const runs = s.percent >= 0 && s.percent < 100 && s.speed >= 0;
          if (s.percent < 0) result.replaceChildren();
          else if (s.speed < 0) result.replaceChildren(h('p', { class: 'failure', data: { state: 'failed' } }, icon('warn'), h('span', {}, t('upgrade.failed', { version: s.version, at, why: s.detail }))));
          else if (runs) result.replaceChildren(h('p', { class: 'dim', data: { state: 'running' } }, t('upgrade.runs', { version: s.version })), h('progress', { aria: { label: t('fold.upgrade') } }));
          else result.replaceChildren(h('p', { class: 'done', data: { state: 'done' } }, t('upgrade.done', { version: s.version, at })));
          if (!runs) return;
          await new Promise((resolve) => setTimeout(resolve, UPGRADE_POLL_MS));
          if (!result.isConnected) return;
        }
      };
      const send = async (event) => {
        event.preventDefault();
        if (!(await ask(t('upgrade.sure', { name: target.deviceName })))) return;
        try {
          await call('POST', `/pu/upgrade/${id}`, Object.fromEntries(fields.map((el) => [el.dataset.field, el.value.trim()])));
          await follow();
        } catch (error) { result.replaceChildren(failure(error)); }
      };
      follow().catch((error) => result.replaceChildren(failure(error)));
      return h('form', { class: 'settings', onsubmit: send }, fields.map((el) => h('label', { class: 'field' }, h('span', {}, t(`upgrade.${el.dataset.field}`)), el)),
        h('div', { class: 'line' }, h('span', { class: 'grow' }), button), result);
    });
  }

  // ---- configuration ----

  #configuration(online) {
    const { puid, index } = this.target;
    const cards = this.#folded('cards', () => this.#cards(), online);
    return h('section', { class: 'config' }, h('h3', {}, t('dev.config')), online ? '' : h('p', { class: 'dim' }, t('dev.config.offline')),
      online ? [cards, Object.keys(SETTINGS).map((type) => this.#folded(`cfg.${type}`, () => new SettingsForm(type, puid, index ?? '-').el))] : []);
  }

  #cards() {
    const box = h('div', { data: { testid: 'cards' } }, h('p', { class: 'dim' }, t('dev.asking')));
    const { puid } = this.target;
    const load = async () => {
      try {
        const { sdCards } = await gantry('POST', `/device/query/${encodeURIComponent(puid)}/-`, { query: 'sdCards' });
        box.replaceChildren(...(sdCards.length ? sdCards.map((card) => h('div', { class: 'line' },
          h('span', { class: 'list-name num' }, `${card.hddName ?? t('card.n', { n: card.id })} · ${t(`card.${card.status ?? 'ok'}`)} · ${((card.freeSpace ?? 0) / GB).toFixed(1)} / ${((card.capacity ?? 0) / GB).toFixed(1)} GB${card.status === 'formatting' ? ` · ${card.formatProgress ?? 0} %` : ''}`),
          h('button', { onclick: async () => {
            if (!(await ask(t('card.sure', { name: card.hddName ?? card.id })))) return;
            try { await call('POST', `/pu/storage/format/${encodeURIComponent(puid)}/${card.id - 1}`, {}); load(); } catch (error) { box.append(failure(error)); }
          } }, t('card.format')))) : [h('p', { class: 'dim' }, t('card.none'))]));
      } catch (error) { box.replaceChildren(failure(error)); }
    };
    load();
    return box;
  }

  /** A row that is filled when it is unfolded for the first time. */
  #folded(key, fill) {
    const el = h('details', { class: 'fold', data: { testid: `fold-${key}` }, ontoggle: () => { if (el.open && !el.dataset.filled) { el.dataset.filled = '1'; el.append(fill()); } } }, h('summary', {}, t(`fold.${key}`)));
    return el;
  }
}

/** What the node knows of a device, as keys of words and values; some are missing. */
export function facts(got) {
  const seen = got.lastTime ? new Date(got.lastTime * 1000).toLocaleString(lang() === 'zh' ? 'zh-CN' : 'en-GB') : '–';
  return [['dev.name', got.name], ['dev.maker', got.manufacturer], ['dev.model', got.product], ['dev.firmware', got.softwareVersion],
    ['dev.channels', `${got.channelCount ?? got.channels?.length ?? 0}${got.partial ? ` ${t('dev.partial')}` : ''}`], ['dev.seen', seen],
    ['dev.place', got.gps && `${got.gps.lng.toFixed(5)}, ${got.gps.lat.toFixed(5)}`]];
}

function list(rows) {
  return h('dl', { class: 'num' }, rows.filter(([, value]) => value).map(([key, value]) => [h('dt', {}, t(key)), h('dd', {}, value)]));
}
