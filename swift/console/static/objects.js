// A container: its objects, shown in folders by the slashes of their names; searched, uploaded, downloaded and deleted.

import { h, show, button, field, explained, dialog, confirmed, told, say, size, number, many, date, complain } from './dom.js';
import { session, ask, address, list, head, removeAll, removeLarge, below, versionsIn, hasOlder } from './api.js';
import { Grid } from './grid.js';
import { go, written } from './places.js';
import { objectDialog, segmentsToo } from './object.js';
import { download } from './download.js';
import { settingsOf } from './settings.js';
import { uploads } from './uploads.js';

export function containerView(place, container, prefix) {
  let search = '';
  let backwards = false;
  let flat = false;
  let versions = false;
  const figures = h('p', { class: 'figures' });
  const empty = h('div', { class: 'empty', hidden: true });
  const chosen = h('span', { class: 'chosen' });
  const get = button('Download', told(() => downloadAll()));
  const selection = h('div', { class: 'row selection', hidden: true }, chosen, get, button('Delete', () => deletion(), { class: 'danger' }), button('Clear', () => grid.select(new Map()), { class: 'plain' }));
  const query = (marker, limit) => ({ prefix: prefix + search, delimiter: flat ? '' : '/', reverse: backwards ? 'true' : '', marker, limit });

  const grid = new Grid({
    label: `Objects in ${container}${prefix ? ` below ${prefix}` : ''}`,
    columns: [{ name: 'Name', className: 'name' }, { name: 'Size', className: 'figure' }, { name: 'Type', className: 'type' }, { name: 'Changed', className: 'when' }],
    key: (row) => row.subdir ?? row.name,
    cells: (row) => row.subdir !== undefined
      ? [[h('span', { class: 'icon', 'aria-hidden': 'true' }, '▸ '), row.subdir.slice(prefix.length)], '', 'folder', '']
      : [row.name.slice(prefix.length) || row.name, size(row.bytes), (row.content_type || '').split(';')[0], date(row.last_modified)],
    fetchPage: (marker, limit) => list(container, query(marker, limit)),
    onOpen: (row) => (row.subdir !== undefined ? go({ container, prefix: row.subdir }) : objectDialog(container, row.name, { versions, changed: refresh })),
    onDelete: () => deletion(),
    onSelection: (rows) => {
      selection.hidden = rows.size === 0;
      chosen.textContent = `${number(rows.size)} selected`;
    },
    onLoad: (count, complete, error) => {
      grid.element.hidden = count === 0;
      empty.hidden = count > 0 || Boolean(error);
      show(empty, search
        ? h('p', {}, `Nothing here begins with “${search}”.`)
        : [h('p', {}, prefix ? 'This folder is empty.' : 'This container is empty.'), h('p', {}, 'Drop files or folders here, or choose some.'), button('Choose files', () => files.click(), { class: 'main' })]);
      loaded.textContent = count ? `${number(count)}${complete ? '' : ' and more'} shown` : '';
    },
  });
  const loaded = h('span', { class: 'quiet' });

  const searching = h('input', { type: 'search', placeholder: 'Begins with …', 'aria-label': 'Objects whose names begin with', autocomplete: 'off' });
  let waiting = 0;
  searching.addEventListener('input', () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { search = searching.value; grid.reload(); }, 250);
  });
  const order = button('A to Z', () => { backwards = !backwards; order.textContent = backwards ? 'Z to A' : 'A to Z'; grid.reload(); }, { 'aria-label': 'Turn the order round' });
  const folders = h('input', { type: 'checkbox', checked: true });
  folders.addEventListener('change', () => { flat = !folders.checked; grid.reload(); });

  const files = h('input', { type: 'file', multiple: true, class: 'unseen', tabindex: '-1', 'aria-label': 'Files to upload' });
  const tree = h('input', { type: 'file', webkitdirectory: true, class: 'unseen', tabindex: '-1', 'aria-label': 'Folder to upload' });
  for (const input of [files, tree]) {
    input.addEventListener('change', () => {
      uploads.add([...input.files].map((file) => ({ file, name: prefix + (file.webkitRelativePath || file.name) })), container, refresh);
      input.value = '';
    });
  }
  const drop = h('div', { class: 'drop' });

  let refreshing = 0;
  function refresh(gone) {
    clearTimeout(refreshing);
    if (gone) grid.hide([gone]);
    else grid.gone.clear();
    refreshing = setTimeout(() => {
      if (!place.isConnected || grid.stopped) return;
      looked();
      // Whoever has scrolled far is not thrown back.
      if (grid.pages.length > 1) show(loaded, button('Show what has changed', () => grid.reload(true), { class: 'plain' }));
      else grid.reload(true);
    }, 400);
  }

  async function looked() {
    try {
      const { headers } = await head(container);
      versions = versionsIn(headers);
      figures.textContent = [many(headers.get('X-Container-Object-Count') || 0, 'object'), size(headers.get('X-Container-Bytes-Used') || 0), headers.get('X-Storage-Policy'), versions && 'keeps versions', /\.r:\*/.test(headers.get('X-Container-Read') || '') && 'readable by everybody'].filter(Boolean).join(' · ');
      deleted.hidden = versions !== 'object';
    } catch (error) {
      complain(error);
    }
  }

  async function downloadAll() {
    const rows = [...grid.selected.values()];
    const single = rows.filter((row) => row.subdir === undefined);
    if (single.length < rows.length) complain({ sentence: 'Folders cannot be downloaded as one: open them and select objects.' });
    for (const row of single.slice(0, 50)) await download(container, row.name, row.bytes);
    if (single.length > 50) say('The first 50 were downloaded. For more than that, a client such as rclone is the better way.');
  }

  async function deletion() {
    const rows = [...grid.selected.values()];
    if (!rows.length) return;
    const { account } = session; // whichever is looked at meanwhile
    let kept;
    try {
      kept = (await head(container)).headers;
    } catch (error) {
      complain(error);
      return;
    }
    if (grid.stopped) return;
    versions = versionsIn(kept);
    const single = rows.filter((row) => row.subdir === undefined);
    const subdirs = rows.filter((row) => row.subdir !== undefined);
    const what = rows.length === 1 ? rows[0].subdir ?? rows[0].name : many(rows.length, 'entry', 'entries');
    const texts = [subdirs.length ? `${many(subdirs.length, 'folder')} with all that is below, and ${many(single.length, 'object')}.` : `${many(single.length, 'object')}, ${size(single.reduce((sum, row) => sum + row.bytes, 0))}.`,
      versions ? 'This container keeps versions: what is deleted can be brought back.' : 'This cannot be undone.'];
    const segments = !hasOlder(kept) && (subdirs.length || single.some((row) => row.slo_etag)) ? segmentsToo() : null;
    if (!await confirmed(`Delete ${what}?`, texts, { word: subdirs.length && !versions ? 'delete' : '', more: segments?.field })) return;
    const progress = h('p', {}, 'Deleting …');
    const box = dialog('Deleting', progress);
    const failures = [];
    let done = 0;
    try {
      const remove = async (page) => {
        const large = segments?.box.checked ? page.filter((row) => row.slo_etag) : [];
        const plain = page.filter((row) => !large.includes(row));
        failures.push(...await removeLarge(container, large.map((row) => row.name), account), ...await removeAll(plain.map((row) => [container, row.name]), (count) => { progress.textContent = `${number(done + count)} deleted …`; }, account));
        done += page.length;
        // Of those that could not be deleted the names are told; a moment later they show again.
        if (!failures.length) grid.hide(page.map((row) => row.name));
      };
      await remove(single);
      for (const folder of subdirs) {
        for await (const page of below(container, folder.subdir, account)) {
          await remove(page);
          progress.textContent = `${number(done)} deleted …`;
        }
        if (!failures.length && !versions) grid.hide([folder.subdir]);
      }
      if (failures.length) complain({ sentence: `${many(failures.length, 'object')} could not be deleted, such as ${failures[0][0]} (${failures[0][1]}).` });
      else say(`Deleted ${many(done, 'object')}.`);
    } catch (error) {
      complain(error);
    }
    box.close();
    grid.reload();
    looked();
    grid.element.focus();
  }

  function newFolder() {
    const name = h('input', { required: true, autocomplete: 'off' });
    const made = dialog('New folder', h('form', { on: { submit: told(async () => {
      await ask('PUT', address(container, `${prefix}${name.value.replace(/^\/+|\/+$/g, '')}/`), { headers: { 'Content-Type': 'application/directory' }, body: '' });
      made.close();
      refresh();
    }) } }, field('Name', name, 'An empty object whose name ends in a slash. Folders that hold something need none.'), h('div', { class: 'row' }, h('button', { type: 'submit', class: 'main' }, 'Make it'))));
  }

  // A deleted object's newest version is a mark; what came before it is still there.
  function deletedObjects() {
    const rows = h('ul', { class: 'lines' });
    const box = dialog('Deleted objects', [h('p', {}, 'Their versions are kept. Open one to bring it back.'), rows]);
    told(async () => {
      let marker = '';
      let found = 0;
      let more = true;
      for (let asked = 0; asked < 20; asked += 1) {
        const page = await list(container, { versions: 'true', prefix: prefix + search, limit: 1000, marker });
        for (const row of page) {
          if (row.is_latest && /x-deleted/.test(row.content_type || '')) {
            found += 1;
            rows.append(h('li', {}, h('span', { class: 'grow' }, row.name), h('span', { class: 'quiet' }, date(row.last_modified)), button('Versions', () => { box.close(); objectDialog(container, row.name, { versions, gone: true, changed: refresh }); })));
          }
        }
        more = page.length === 1000;
        if (!more) break;
        marker = page[page.length - 1].name;
      }
      if (!found) rows.append(h('li', {}, 'Nothing was deleted here.'));
      if (more) rows.append(h('li', {}, 'There is more than was looked at: open a folder, or say how the name begins.'));
    })();
  }

  const deleted = button('Deleted objects', deletedObjects, { hidden: true });
  const steps = prefix.split('/').slice(0, -1);
  const link = (text, to, last) => h('li', {}, last ? h('span', { 'aria-current': 'page' }, text) : h('a', { href: written({ account: session.account, ...to }) }, text));
  show(place,
    h('nav', { 'aria-label': 'Where you are' }, h('ol', { class: 'crumbs' }, link('Containers', {}), link(container, { container }, !steps.length), steps.map((step, at) => link(step || '/', { container, prefix: `${steps.slice(0, at + 1).join('/')}/` }, at === steps.length - 1)))),
    h('div', { class: 'heading' }, h('h1', { tabindex: '-1' }, steps[steps.length - 1] || container), figures),
    explained('What is this?', 'Objects are files with a name, a type and metadata. Names may have slashes, which are shown as folders. Open an object to see, download, share or delete it; drop files anywhere on this page to upload them.',
      'With the keyboard: arrows move, Enter opens, Space selects, Delete deletes, Ctrl+A selects all that is loaded.'),
    h('div', { class: 'row tools' }, searching, h('div', { class: 'row acts' }, button('Upload files', () => files.click(), { class: 'main' }), button('Upload folder', () => tree.click()), button('New folder', newFolder), button('Container settings', () => settingsOf(container, looked)), deleted), files, tree),
    selection,
    h('div', { class: 'row' }, order, h('label', { class: 'inline' }, folders, ' Folders'), loaded),
    empty, grid.element, drop);

  const over = (event) => {
    if (!event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    place.classList.add('dropping');
  };
  const out = (event) => { if (!event.relatedTarget) place.classList.remove('dropping'); };
  const dropped = told(async (event) => {
    place.classList.remove('dropping');
    uploads.add(await uploads.dropped(event.dataTransfer, prefix), container, refresh);
  });
  document.addEventListener('dragover', over);
  document.addEventListener('dragleave', out);
  document.addEventListener('drop', dropped);
  looked();
  grid.reload();
  return () => {
    grid.stop();
    document.removeEventListener('dragover', over);
    document.removeEventListener('dragleave', out);
    document.removeEventListener('drop', dropped);
  };
}
