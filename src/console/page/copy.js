// Copying text, with a button that says whether it was done.

import { h } from './dom.js';
import { t } from './i18n.js';

/** A button that copies what `text()` gives; `title` says what that is. */
export function copyButton(text, title = t('diag.copy.hint')) {
  const button = h('button', { class: 'quiet text', title, data: { testid: 'copy' }, onclick: async () => {
    const done = await copy(text());
    button.textContent = t(done ? 'diag.copied' : 'diag.copy.failed');
    setTimeout(() => { button.textContent = t('diag.copy'); }, 1500);
  } }, t('diag.copy'));
  return button;
}

/** The clipboard is there on secure pages alone; elsewhere the old way still works. */
async function copy(text) {
  try {
    if (navigator.clipboard) { await navigator.clipboard.writeText(text); return true; }
  } catch { /* not allowed here: the old way */ }
  const area = h('textarea', { value: text, class: 'offscreen' });
  document.body.append(area);
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  return done;
}
