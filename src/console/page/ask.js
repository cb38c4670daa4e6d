// Asking before what cannot be undone.

import { h } from './dom.js';
import { t } from './i18n.js';

/** Resolves to whether the user agrees. Escape and Cancel are no. */
export function ask(text) {
  return new Promise((resolve) => {
    const dialog = h('dialog', { class: 'keys', data: { testid: 'ask' } }, h('p', { class: 'ask' }, text),
      h('form', { method: 'dialog', class: 'line' }, h('span', { class: 'grow' }), h('button', { value: '' }, t('cancel')), h('button', { value: 'yes', class: 'accent', data: { testid: 'ask-yes' } }, t('ok'))));
    dialog.addEventListener('close', () => { resolve(dialog.returnValue === 'yes'); dialog.remove(); });
    document.body.append(dialog);
    dialog.showModal();
  });
}
