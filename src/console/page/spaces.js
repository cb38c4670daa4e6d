// What stands in the middle of the page: the wall of live views, records on a timeline, the map, or the certificates.

import { h } from './dom.js';
import { onLang, t } from './i18n.js';

const KEY = 'gantry.space';

export class Spaces {
  /** `views`: elements by name, in the order of their buttons; `onShow(name)` is told what is shown now. */
  constructor(el, views, onShow) {
    this.el = el;
    this.views = views;
    this.onShow = onShow;
    this.name = '';
    onLang(() => this.#draw());
  }

  show(name) {
    const known = this.views[name] ? name : Object.keys(this.views)[0];
    this.name = known;
    sessionStorage.setItem(KEY, known);
    for (const [each, el] of Object.entries(this.views)) el.hidden = each !== known;
    this.#draw();
    this.onShow(known);
  }

  /** A reload of the page comes back to the same. */
  restore() { this.show(sessionStorage.getItem(KEY) ?? ''); }

  #draw() {
    this.el.setAttribute('aria-label', t('space.title'));
    this.el.replaceChildren(...Object.keys(this.views).map((name) => h('button', { role: 'tab', aria: { selected: name === this.name }, data: { testid: `space-${name}` }, onclick: () => this.show(name) }, t(`space.${name}`))));
  }
}
