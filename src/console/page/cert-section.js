// What the three sections of the certificates have in common: a heading, a form that opens, and a table whose rows open.
//
// What fails says so where it was asked for: in the form, at the row, or under the heading where it is the list itself. A table
// is drawn anew only when what it shows has changed; a form keeps what is typed into it.

import { copyButton } from './copy.js';
import { failure, h, icon } from './dom.js';
import { lang, t } from './i18n.js';
import { readPem, save } from './pem.js';

/** Rows in the document; a button brings as many more. */
const ROWS = 100;
/** From so many rows on they can be searched. */
const SEARCH_FROM = 10;

/** An element with words that follow the language. */
export function word(tag, key, props = {}) { return h(tag, { ...props, data: { ...props.data, t: key } }, t(key)); }

/** A label over an input. */
export function field(key, input) { return h('label', { class: 'cert-field' }, word('span', key), input); }

/** An input of one line, whose empty state says what happens then. */
export function line(name, { hint, ...props } = {}) {
  return h('input', { type: 'text', maxLength: 128, autocomplete: 'off', data: { field: name, ...(hint && { tPlaceholder: hint }) }, placeholder: hint ? t(hint) : '', ...props });
}

/** Where PEM is pasted or dropped, or read from a file; `area` has the text. */
export function pemField(key, label) {
  const read = async (file) => {
    if (!file) return;
    area.value = await readPem(file, label);
    area.dispatchEvent(new Event('input', { bubbles: true }));
  };
  const area = h('textarea', { rows: 8, required: true, placeholder: `-----BEGIN ${label}-----`, data: { field: 'pem' },
    ondragover: (e) => e.preventDefault(), ondrop: (e) => { if (e.dataTransfer.files.length) { e.preventDefault(); read(e.dataTransfer.files[0]); } } });
  area.spellcheck = false;
  const file = h('input', { type: 'file', hidden: true, data: { testid: 'file' }, onchange: () => { read(file.files[0]); } });
  const el = h('div', { class: 'cert-pem' }, field(key, area), word('button', 'cert.file', { type: 'button', onclick: () => { file.value = ''; file.click(); } }), file);
  return { el, area };
}

/** Days of validity and a button that sends them. */
export function termForm(key, testid, send, accent = true) {
  const days = h('input', { type: 'number', min: 1, max: 7300, value: 3650, required: true, aria: { label: t('cert.days') }, data: { field: 'days' } });
  return h('form', { class: 'line cert-term', onsubmit: (e) => { e.preventDefault(); send({ days: Number(days.value) }); } },
    days, h('span', { class: 'dim' }, t('cert.days')), h('button', { type: 'submit', class: accent && 'accent', data: { testid } }, t(key)));
}

/** Copies and saves one text; nothing where there is none. */
export function pemButtons(key, name, pem) {
  return pem ? h('div', { class: 'line', data: { testid: `pem-${key}` } }, h('span', { class: 'dim' }, t(`cert.pem.${key}`)), h('span', { class: 'grow' }), copyButton(() => pem, t('cert.copy.hint')),
    h('button', { class: 'quiet text', data: { testid: 'download' }, onclick: () => save(name, pem) }, t('cert.download'))) : null;
}

export function facts(rows) {
  return h('dl', { class: 'num' }, rows.filter(([, value]) => value).map(([key, value]) => [h('dt', {}, t(`cert.fact.${key}`)), h('dd', {}, value)]));
}

export const chip = (key, mood = '') => h('span', { class: `chip ${mood}` }, t(key));
export const mono = (text) => h('span', { class: 'mono' }, text || '–');
/** The same, cut where there is no room; all of it is the title. */
export const cut = (text) => h('span', { class: 'mono cut', title: text }, text || '–');
const locale = () => (lang() === 'zh' ? 'zh-CN' : 'en-GB');
export const day = (ms) => new Date(ms).toLocaleDateString(locale(), { year: 'numeric', month: '2-digit', day: '2-digit' });
export const moment = (ms) => new Date(ms).toLocaleString(locale());
/** The last day of a certificate, marked where it is over. */
export const lastDay = (until) => (until ? h('span', { class: until < Date.now() ? 'num bad' : 'num' }, day(until), until < Date.now() ? ` · ${t('cert.expired')}` : '') : '–');

export class Section {
  /**
   * `name` is that of its words (`cert.<name>.title`, …), `columns` those of its head. A section has besides: `items()`, null
   * until they came; `keyOf(item)`, `stateOf(item)`, `cells(item)`, `actions(item)`, `detail(item)`; `texts(item)` is searched;
   * `empty()` is the key of what to do next; `note(item)`, if there is one, stands under the row.
   */
  constructor(name, space, columns) {
    this.name = name;
    this.space = space;
    this.columns = columns;
    this.open = new Set();
    this.errors = new Map();
    this.shown = ROWS;
    this.error = null;
    this.el = h('section', { class: 'cert-section', data: { testid: `cert-${name}` } },
      h('div', { class: 'cert-head' }, word('h2', `cert.${name}.title`), this.count = h('span', { class: 'dim num' }), h('span', { class: 'grow' }),
        this.search = h('input', { type: 'search', hidden: true, placeholder: t('cert.search'), data: { tPlaceholder: 'cert.search', testid: `${name}-search` }, oninput: () => { this.shown = ROWS; this.draw(); } }),
        this.tools = h('span', { class: 'line' })),
      word('p', `cert.${name}.hint`, { class: 'dim small' }),
      this.notice = h('div', { role: 'alert', data: { testid: `${name}-notice` } }),
      this.forms = h('div'),
      this.scroll = h('div', { class: 'cert-scroll' }, h('table', { class: 'cert-table' },
        h('thead', {}, h('tr', {}, columns.map((c) => word('th', `cert.col.${c}`, { scope: 'col' })), h('th'))), this.body = h('tbody'))),
      this.none = h('p', { class: 'cert-none', data: { testid: `${name}-none` } }),
      this.more = h('button', { class: 'quiet text', onclick: () => { this.shown += ROWS; this.draw(); } }));
  }

  /** A form behind a button of the heading. `send()` makes the call; what it throws stands in the form. */
  addForm(fields, send) {
    const { name } = this;
    const result = h('div', { role: 'status' });
    const submit = word('button', `cert.${name}.send`, { type: 'submit', class: 'accent', data: { testid: `${name}-send` } });
    this.adding = word('button', `cert.${name}.add`, { class: 'accent', aria: { expanded: 'false' }, data: { testid: `${name}-add` }, onclick: () => this.showForm(this.form.hidden) });
    this.form = h('form', { class: 'cert-form', hidden: true, data: { testid: `${name}-form` }, onsubmit: async (event) => {
      event.preventDefault();
      submit.disabled = true;
      result.replaceChildren();
      try {
        await send();
        this.showForm(false);
      } catch (error) { result.replaceChildren(failure(error)); }
      submit.disabled = false;
      await this.space.load();
    }, onreset: () => result.replaceChildren(), oninput: () => result.replaceChildren() }, fields, result,
    h('div', { class: 'line' }, h('span', { class: 'grow' }), word('button', 'cancel', { type: 'button', class: 'quiet text', onclick: () => this.showForm(false) }), submit));
    this.tools.append(this.adding);
    this.forms.append(this.form);
  }

  /** Opens the form, or closes it and forgets what was typed. */
  showForm(open) {
    if (!open) this.form.reset();
    this.form.hidden = !open;
    this.adding.setAttribute('aria-expanded', String(open));
    if (open) this.form.querySelector('input, textarea').focus();
  }

  /** Does something to a row; what fails stands at the row. The lists are loaded again either way. */
  async act(key, work) {
    if (this.busy) return;
    this.busy = true;
    this.errors.delete(key);
    try { await work(); } catch (error) { this.errors.set(key, error); }
    await this.space.load();
    this.busy = false;
  }

  /** Shows or hides what belongs to a row. */
  toggle(key) {
    if (!this.open.delete(key)) this.open.add(key);
    else this.errors.delete(key);
    this.draw();
  }

  draw() {
    const all = this.items();
    this.notice.replaceChildren(...(this.error ? [failure(this.error)] : []));
    this.search.hidden = (all?.length ?? 0) < SEARCH_FROM;
    const wanted = this.search.hidden ? '' : this.search.value.trim().toLowerCase();
    const found = (all ?? []).filter((item) => this.texts(item).some((text) => text.toLowerCase().includes(wanted)));
    this.count.textContent = all?.length ? String(all.length) : '';
    this.scroll.hidden = found.length === 0;
    this.none.hidden = found.length > 0 || (!all && Boolean(this.error));
    this.none.replaceChildren(...withCode(t(!all ? 'loading' : all.length ? 'tree.nomatch' : this.empty())));
    this.body.replaceChildren(...found.slice(0, this.shown).flatMap((item) => this.#row(item)));
    this.more.hidden = found.length <= this.shown;
    this.more.textContent = t('cert.more', { n: found.length - this.shown });
  }

  #row(item) {
    const key = this.keyOf(item);
    const open = this.open.has(key);
    const error = this.errors.get(key);
    const [name, ...cells] = this.cells(item);
    const below = [this.note?.(item), error && failure(error), open && this.detail(item)].filter(Boolean);
    return [
      h('tr', { class: below.length ? 'opened' : '', data: { testid: `${this.name}-row`, key, state: this.stateOf(item) } },
        h('td', {}, h('button', { class: 'cert-name', aria: { expanded: String(open) }, data: { testid: 'open' }, onclick: () => this.toggle(key) }, h('span', { class: open ? 'twist open' : 'twist' }, icon('chevron')), h('span', {}, name))),
        cells.map((cell) => h('td', {}, cell)), h('td', {}, h('div', { class: 'cert-actions' }, this.actions(item)))),
      ...(below.length ? [h('tr', { class: 'cert-below', data: { testid: `${this.name}-below`, key } }, h('td', { colSpan: this.columns.length + 1 }, below))] : []),
    ];
  }
}

/** What stands between backquotes is code. */
function withCode(text) { return text.split('`').map((part, i) => (i % 2 ? h('code', {}, part) : part)); }
