// The wall: 1, 4, 9 or 16 views. Views beyond the layout are closed when it shrinks.

import { h, icon } from './dom.js';
import { onLang, t } from './i18n.js';
import { Tile } from './tile.js';

export const LAYOUTS = [1, 4, 9, 16];
const LAYOUT_KEY = 'gantry.layout';
const VIEWS_KEY = 'gantry.views';

export class Wall {
  /** `hooks`: onSelect(tile), onInfo(tile), onChange(). */
  constructor(el, layoutsEl, hooks) {
    this.el = el;
    this.layoutsEl = layoutsEl;
    this.hooks = hooks;
    this.tiles = [];
    this.selected = null;
    this.transport = 'auto';
    this.statsOnAll = false;
    const stored = Number(localStorage.getItem(LAYOUT_KEY));
    this.setLayout(LAYOUTS.includes(stored) ? stored : 4);
    onLang(() => { this.#renderLayouts(); for (const tile of this.tiles) tile.render(); });
  }

  setLayout(count) {
    this.count = count;
    localStorage.setItem(LAYOUT_KEY, String(count));
    for (const tile of this.tiles.splice(count)) { tile.close(); tile.el.remove(); }
    while (this.tiles.length < count) {
      const tile = new Tile(this.tiles.length + 1, {
        onSelect: (chosen) => this.select(chosen),
        onInfo: (chosen) => { this.select(chosen); this.hooks.onInfo(chosen); },
        onChange: (changed) => { this.#remember(); this.hooks.onChange(changed); },
      });
      tile.showStats = this.statsOnAll;
      this.tiles.push(tile);
      this.el.append(tile.el);
    }
    this.el.dataset.layout = count;
    if (!this.tiles.includes(this.selected)) this.select(this.tiles[0]);
    this.#renderLayouts();
    this.hooks.onChange();
  }

  #renderLayouts() {
    this.layoutsEl.replaceChildren(...LAYOUTS.map((n) => {
      const label = t('top.layout.n', { n });
      return h('button', { role: 'radio', title: label, aria: { label, checked: n === this.count }, data: { testid: `layout-${n}` },
        onclick: () => this.setLayout(n) }, icon(`l${n}`));
    }));
  }

  select(tile) {
    if (this.selected === tile) return;
    this.selected?.el.classList.remove('selected');
    this.selected = tile;
    tile.el.classList.add('selected');
    this.hooks.onSelect(tile);
  }

  /** Plays in the selected view if it is free, else in the first free one, else over the selected one. */
  play(target, clickedAt) {
    const shown = this.tiles.find((x) => x.target?.puid === target.puid && x.target.index === target.index);
    const free = this.selected?.state === 'empty' ? this.selected : this.tiles.find((x) => x.state === 'empty');
    const tile = shown ?? free ?? this.selected;
    this.select(tile);
    tile.play(target, this.transport, clickedAt);
    return tile;
  }

  closeAll() { for (const tile of this.tiles) if (tile.target) tile.close(); }

  showStats(on) {
    this.statsOnAll = on;
    for (const tile of this.tiles) tile.toggleStats(on);
  }

  deviceOnline(puid) { for (const tile of this.tiles) if (tile.target?.puid === puid) tile.deviceOnline(); }

  /** Moves the selection by columns and rows; used by the arrow keys. */
  move(columns, rows) {
    const width = Math.sqrt(this.count);
    const at = this.tiles.indexOf(this.selected);
    const x = Math.min(width - 1, Math.max(0, (at % width) + columns));
    const y = Math.min(width - 1, Math.max(0, Math.floor(at / width) + rows));
    this.tiles[y * width + x].el.focus();
  }

  /** A reload of the page in the same tab brings the same views back. */
  restore() {
    let views = [];
    try { views = JSON.parse(sessionStorage.getItem(VIEWS_KEY) ?? '[]'); } catch { /* written by another version */ }
    views.slice(0, this.count).forEach((target, i) => target?.puid && this.tiles[i].play(target, this.transport));
  }

  #remember() { sessionStorage.setItem(VIEWS_KEY, JSON.stringify(this.tiles.map((x) => x.target))); }
}
