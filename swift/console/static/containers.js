// The account: its containers, made, searched and deleted.

import { h, show, button, field, explained, dialog, confirmed, told, say, size, number, many, date, complain } from './dom.js';
import { session, ask, address, list, head, removeAll, below, toHeader } from './api.js';
import { Grid } from './grid.js';
import { accountSettings, settingsOf } from './settings.js';
import { go } from './places.js';

export function accountView(place) {
  let prefix = '';
  const figures = h('p', { class: 'figures' });
  const empty = h('div', { class: 'empty', hidden: true });
  const chosen = h('span', { class: 'chosen' });
  const remove = button('Delete', () => deletion(grid), { class: 'danger' });
  const settings = button('Settings', () => settingsOf([...grid.selected.keys()][0], () => grid.reload(true)));
  const selection = h('div', { class: 'row selection', hidden: true }, chosen, settings, remove, button('Clear', () => grid.select(new Map()), { class: 'plain' }));
  const search = h('input', { type: 'search', placeholder: 'Begins with …', 'aria-label': 'Containers whose names begin with', autocomplete: 'off' });

  const grid = new Grid({
    label: 'Containers',
    columns: [{ name: 'Container', className: 'name' }, { name: 'Objects', className: 'figure' }, { name: 'Size', className: 'figure' }, { name: 'Changed', className: 'when' }],
    key: (row) => row.name,
    cells: (row) => [row.name, number(row.count), size(row.bytes), date(row.last_modified || '')],
    fetchPage: (marker, limit) => list('', { prefix, marker, limit }),
    onOpen: (row) => go({ container: row.name }),
    onDelete: () => deletion(grid),
    onSelection: (rows) => {
      selection.hidden = rows.size === 0;
      settings.hidden = rows.size !== 1;
      chosen.textContent = `${many(rows.size, 'container')} selected`;
    },
    onLoad: (count, complete, error) => {
      grid.element.hidden = count === 0;
      empty.hidden = count > 0 || Boolean(error);
      show(empty, prefix
        ? h('p', {}, `No container's name begins with “${prefix}”.`)
        : [h('p', {}, 'There are no containers yet.'), h('p', {}, 'A container holds objects, as a folder holds files. Make one, and drop files into it.'), button('New container', making, { class: 'main' })]);
    },
  });
  let waiting = 0;
  search.addEventListener('input', () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { prefix = search.value; grid.reload(); }, 250);
  });

  async function making() {
    const name = h('input', { required: true, maxlength: 256, autocomplete: 'off', spellcheck: 'false' });
    const policies = session.info.swift?.policies || [];
    const policy = h('select', {}, policies.map((each) => h('option', { value: each.name, selected: Boolean(each.default) }, each.default ? `${each.name} (usual)` : each.name)));
    const made = dialog('New container', h('form', { on: { submit: told(async () => {
      if (name.value.includes('/')) throw Object.assign(new Error(), { sentence: 'A container’s name cannot have a slash. Folders are made inside of it, by slashes in the names of objects.' });
      const response = await ask('PUT', address(name.value), { headers: policies.length > 1 ? { 'X-Storage-Policy': toHeader(policy.value) } : {} });
      made.close();
      say(response.status === 201 ? `Made the container ${name.value}.` : `${name.value} was there already.`);
      go({ container: name.value });
    }) } },
    field('Name', name, 'Any text without a slash; with S3 clients in mind: lower-case letters, digits and hyphens.'),
    policies.length > 1 && field('Storage policy', policy, 'How objects are kept, such as whole copies or erasure-coded fragments. It cannot be changed later.'),
    h('div', { class: 'row' }, h('button', { type: 'submit', class: 'main' }, 'Make it'))));
  }

  async function looked() {
    try {
      const told = (await head()).headers;
      figures.textContent = [many(told.get('X-Account-Container-Count') || 0, 'container'), many(told.get('X-Account-Object-Count') || 0, 'object'), size(told.get('X-Account-Bytes-Used') || 0)].join(' · ');
    } catch (error) {
      complain(error);
    }
  }

  show(place,
    h('div', { class: 'heading' }, h('h1', { tabindex: '-1' }, 'Containers'), figures),
    explained('What is this?', 'An account has containers, and a container has objects: files with a name, a type and metadata of your choice. There are no folders; a slash in an object’s name is shown as one.'),
    h('div', { class: 'row tools' }, search, button('New container', making, { class: 'main' }), button('Account settings', () => accountSettings())),
    selection, empty, grid.element);
  looked();
  grid.reload();
  return () => grid.stop();
}

async function deletion(grid) {
  const rows = [...grid.selected.values()];
  if (!rows.length) return;
  const { account } = session; // whichever is looked at meanwhile
  const objects = rows.reduce((sum, row) => sum + row.count, 0);
  const one = rows.length === 1;
  const agreed = await confirmed(one ? `Delete the container ${rows[0].name}?` : `Delete ${many(rows.length, 'container')}?`,
    [objects ? `${one ? 'It holds' : 'They hold'} ${many(objects, 'object')} (${size(rows.reduce((sum, row) => sum + row.bytes, 0))}), which will be deleted first. This cannot be undone.` : 'Nothing is in there.'],
    { word: objects ? (one ? rows[0].name : 'delete') : '' });
  if (!agreed) return;
  const failures = [];
  try {
    for (const row of rows) {
      for await (const page of below(row.name, '', account)) failures.push(...await removeAll(page.map((object) => [row.name, object.name]), undefined, account));
      failures.push(...await removeAll([[row.name]], undefined, account));
    }
    if (failures.length) complain({ sentence: `${many(failures.length, 'thing')} could not be deleted, such as ${failures[0][0]} (${failures[0][1]}).` });
    else {
      grid.hide(rows.map((row) => row.name));
      say(`Deleted ${one ? rows[0].name : many(rows.length, 'container')}.`);
    }
  } catch (error) {
    complain(error);
  }
  grid.reload();
}
