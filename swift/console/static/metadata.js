// Metadata of an account, a container or an object: names and texts of one's own, edited as a list.

import { h, button, told, field } from './dom.js';
import { fromHeader, toHeader } from './api.js';

const HIDDEN = /^(temp-url-key(-2)?|quota-(bytes|count)|access-control-.*|web-.*)$/;

// prefix: 'X-Object-Meta-' …; more: [[label, input, help]]; save(headers): sends all of them. `erase`: those taken away are sent empty.
export function metadataEditor({ prefix, headers, more = [], save, erase = false }) {
  const lower = prefix.toLowerCase();
  const there = [...headers.entries()].filter(([name]) => name.startsWith(lower)).map(([name, value]) => [name.slice(lower.length), value]);
  const shown = erase ? there.filter(([name]) => !HIDDEN.test(name)) : there;
  const rows = h('div', { class: 'pairs' });
  const add = (name = '', value = '') => {
    const title = h('input', { value: name, placeholder: 'Name', 'aria-label': 'Name', spellcheck: 'false', maxlength: 128, class: 'key' });
    const text = h('input', { value, placeholder: 'Text', 'aria-label': name ? `Text of ${name}` : 'Text', maxlength: 256 });
    const row = h('div', { class: 'pair' }, title, text, button('Remove', () => { row.remove(); }, { 'aria-label': name ? `Remove ${name}` : 'Remove this line' }));
    rows.append(row);
    return title;
  };
  for (const [name, value] of shown) add(name, fromHeader(value));
  return h('form', { on: { submit: told(async () => {
    const sent = {};
    if (erase) for (const [name] of shown) sent[prefix + name] = '';
    for (const row of rows.children) {
      const [title, text] = row.querySelectorAll('input');
      const name = title.value.trim();
      if (!name) continue;
      if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name)) throw Object.assign(new Error(), { sentence: `“${name}” cannot be a name: take letters, digits and hyphens.` });
      sent[prefix + name.toLowerCase().replaceAll('_', '-')] = toHeader(text.value);
    }
    await save(sent);
  }) } },
  more.map(([label, input, help]) => field(label, input, help)),
  h('fieldset', {}, h('legend', {}, 'Metadata'), h('small', {}, 'Names and texts of your choice, kept beside the data. Names are of letters, digits and hyphens, whatever their case.'), rows, button('Add a line', () => add().focus())),
  h('div', { class: 'row' }, h('button', { type: 'submit', class: 'main' }, 'Save')));
}
