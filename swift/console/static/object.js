// One object: what it is, a look into it, its metadata, its versions, links to it.

import { h, show, button, field, dialog, confirmed, told, say, size, date, id } from './dom.js';
import { session, ask, address, head, list, removeLarge, versionsIn, hasOlder, Meanwhile, fromHeader, toHeader } from './api.js';
import { download } from './download.js';
import { metadataEditor } from './metadata.js';
import { sharing } from './share.js';

const IMAGES = ['image/png', 'image/jpeg', 'image/gif', 'image/webp', 'image/avif', 'image/bmp'];
const IMAGE_BYTES = 20 * 1024 * 1024;
const TEXT_BYTES = 64 * 1024;
const TEXTS = /^(text\/|application\/(json|xml|javascript|x-sh|x-yaml|yaml|toml|sql|x-ndjson|.*\+(json|xml))|image\/svg)/;
// What a POST must repeat, or it is gone.
const KEPT = ['Content-Disposition', 'Content-Encoding', 'Content-Language', 'Cache-Control', 'Expires', 'X-Robots-Tag', 'X-Object-Manifest'];

export function objectDialog(container, name, { versions = '', gone = false, changed = () => {} } = {}) {
  const body = h('div', {}, h('p', {}, 'Looking …'));
  const made = dialog(name, body, { wide: true, onclose: () => urls.forEach((url) => URL.revokeObjectURL(url)) });
  const urls = [];
  const after = (removed) => { made.close(); changed(removed); };

  told(async () => {
    if (gone) {
      show(body, h('p', {}, 'This object is deleted. Bring back one of its versions:'), versionList(container, name, after));
      return;
    }
    const { headers } = await head(container, name);
    const bytes = Number(headers.get('Content-Length'));
    const kind = (headers.get('Content-Type') || '').split(';')[0];
    const preview = h('div', { class: 'preview' });
    const tabs = tabbed(name, [
      ['Overview', () => [preview, facts(headers, bytes, kind)]],
      ['Metadata', () => metadata(container, name, headers, changed)],
      versions === 'object' && ['Versions', () => versionList(container, name, after)],
      versions && versions !== 'object' && ['Versions', () => oldVersions(container, name, versions, after)],
      ['Share', () => sharing(container, name)],
    ].filter(Boolean));
    show(body,
      h('div', { class: 'row' },
        button('Download', told(() => download(container, name, bytes)), { class: 'main' }),
        button('Delete', told(() => remove(container, name, headers.get('X-Static-Large-Object'), after)), { class: 'danger' })),
      tabs);
    await look(preview, container, name, kind, bytes, urls);
  })();
}

// -- tabs, by the keyboard too

function tabbed(label, tabs) {
  const panel = h('div', { role: 'tabpanel', id: id('panel'), tabindex: '0' });
  const made = new Map();
  const open = (at, focus) => {
    marks.forEach((mark, other) => { mark.setAttribute('aria-selected', String(at === other)); mark.tabIndex = at === other ? 0 : -1; });
    if (!made.has(at)) made.set(at, [tabs[at][1]()].flat());
    show(panel, made.get(at));
    panel.setAttribute('aria-labelledby', marks[at].id);
    if (focus) marks[at].focus();
  };
  const marks = tabs.map(([text], at) => h('button', { type: 'button', role: 'tab', id: id('tab'), 'aria-controls': panel.id, on: {
    click: () => open(at),
    keydown: (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) open((at + step + tabs.length) % tabs.length, true);
    },
  } }, text));
  const bar = h('div', { role: 'tablist', 'aria-label': label }, marks);
  open(0);
  return h('div', { class: 'tabs' }, bar, panel);
}

// -- overview

function facts(headers, bytes, kind) {
  const deleteAt = headers.get('X-Delete-At');
  const rows = [
    ['Size', `${size(bytes)} (${bytes.toLocaleString('en')} bytes)`],
    ['Type', kind],
    ['Changed', date(headers.get('Last-Modified') || '')],
    ['ETag', (headers.get('Etag') || '').replaceAll('"', '')],
    headers.get('X-Static-Large-Object') && ['Kept as', 'a large object in segments (SLO)'],
    headers.get('X-Object-Manifest') && ['Kept as', `a dynamic large object: all that begins with ${fromHeader(headers.get('X-Object-Manifest'))}`],
    headers.get('X-Symlink-Target') && ['Link to', fromHeader(headers.get('X-Symlink-Target'))],
    headers.get('X-Object-Version-Id') && ['Version', headers.get('X-Object-Version-Id')],
    deleteAt && ['Deleted by itself', date(Number(deleteAt))],
  ].filter(Boolean);
  return h('dl', { class: 'facts' }, rows.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))));
}

// Pictures go into an img, where nothing in them runs; all else that is shown is text, HTML and SVG included.
async function look(place, container, name, kind, bytes, urls) {
  if (IMAGES.includes(kind)) {
    if (bytes > IMAGE_BYTES) return show(place, h('p', { class: 'quiet' }, 'This picture is too large for a preview.'));
    const response = await ask('GET', address(container, name));
    const url = URL.createObjectURL(new Blob([await response.arrayBuffer()], { type: kind }));
    urls.push(url);
    const picture = h('img', { alt: `Preview of ${name}` });
    picture.addEventListener('error', () => show(place, h('p', { class: 'quiet' }, 'This is no picture that the browser can show.')));
    picture.src = url;
    return show(place, picture);
  }
  if (!bytes) return show(place, h('p', { class: 'quiet' }, 'Empty.'));
  if (!TEXTS.test(kind)) return show(place, h('p', { class: 'quiet' }, 'There is no preview of this type.'));
  const response = await ask('GET', address(container, name), { headers: { Range: `bytes=0-${TEXT_BYTES - 1}` } });
  const text = new TextDecoder().decode(await response.arrayBuffer());
  return show(place, h('pre', { tabindex: '0', 'aria-label': `Beginning of ${name}` }, text), bytes > TEXT_BYTES && h('p', { class: 'quiet' }, `The first ${size(TEXT_BYTES)}.`));
}

async function remove(container, name, isLarge, after) {
  const { account } = session; // whichever is looked at meanwhile
  const kept = (await head(container)).headers;
  const segments = isLarge && !hasOlder(kept) ? segmentsToo() : null;
  if (session.account !== account) return;
  if (!await confirmed(`Delete ${name}?`, [versionsIn(kept) ? 'This container keeps versions: it can be brought back.' : 'This cannot be undone.'], { more: segments?.field })) return;
  if (segments?.box.checked) {
    const failures = await removeLarge(container, [name], account);
    if (failures.length) {
      after();
      throw Object.assign(new Error(), { sentence: `Not all of it could be deleted: ${failures[0][0]} (${failures[0][1]}).` });
    }
  } else await ask('DELETE', address(container, name), { good: [404] });
  say(`Deleted ${name}.`);
  after(name);
}

export function segmentsToo() {
  const box = h('input', { type: 'checkbox', checked: true });
  return { box, field: field('Delete the segments of large objects, too', box, 'They hold the data. Keep them only if another large object is made of them.') };
}

// -- metadata

function metadata(container, name, headers, changed) {
  const deleteAt = headers.get('X-Delete-At');
  const shown = deleteAt ? local(Number(deleteAt)) : '';
  const when = h('input', { type: 'datetime-local', value: shown });
  let stamp = headers.get('X-Timestamp');
  const kind = h('input', { value: headers.get('Content-Type') || '', spellcheck: 'false' });
  return metadataEditor({
    prefix: 'X-Object-Meta-',
    headers,
    more: [['Type', kind, 'What browsers take it for, such as text/plain or image/png.'], ['Delete by itself at', when, 'Local time; empty: never. Objects with such a time are removed by the cluster.']],
    save: async (sent) => {
      const kept = Object.fromEntries(KEPT.filter((each) => headers.get(each)).map((each) => [each, headers.get(each)]));
      const all = { ...kept, ...sent, 'Content-Type': toHeader(kind.value) };
      // The field knows minutes only: what nobody changed stays to the second.
      if (when.value) all['X-Delete-At'] = when.value === shown ? deleteAt : String(Math.floor(new Date(when.value).getTime() / 1000));
      // A type and an encoding are those of the data that were looked at, and a POST leaves nothing of what others wrote.
      const url = address(container, name);
      const { headers: now } = await ask('HEAD', url, { headers: { 'X-Newest': 'true' } });
      if (stamp && now.get('X-Timestamp') !== stamp) throw new Meanwhile();
      await ask('POST', url, { headers: all });
      stamp = '';
      say('Saved the metadata.');
      changed();
    },
  });
}

function local(seconds) {
  const at = new Date(seconds * 1000);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}

// -- versions

function versionList(container, name, after) {
  const rows = h('ul', { class: 'lines' });
  told(async () => {
    const found = (await list(container, { versions: 'true', prefix: name, limit: 1000 })).filter((row) => row.name === name);
    for (const row of found) {
      const mark = /x-deleted/.test(row.content_type || '');
      const query = { 'version-id': row.version_id };
      rows.append(h('li', {},
        h('span', { class: 'grow' }, date(row.last_modified), row.is_latest ? h('strong', {}, ' current') : '', h('span', { class: 'quiet' }, mark ? ' deleted' : ` ${size(row.bytes)}`)),
        !mark && button('Download', told(() => download(container, name, row.bytes, query))),
        !row.is_latest && !mark && button('Bring back', told(async () => {
          await ask('PUT', address(container, name, query), { body: '' });
          say(`Brought back the version of ${date(row.last_modified)}.`);
          after();
        })),
        !row.is_latest && button('Delete for good', told(async () => {
          if (!await confirmed('Delete this version?', [`The version of ${date(row.last_modified)}. This cannot be undone.`])) return;
          await ask('DELETE', address(container, name, query));
          after();
        }), { class: 'danger' })));
    }
    if (!found.length) rows.append(h('li', {}, 'There are no versions.'));
  })();
  return [h('p', { class: 'quiet' }, 'Each upload, and each deletion, leaves the version before it here.'), rows];
}

// Of the older way, with a container of its own for what was written over.
function oldVersions(container, name, store, after) {
  const rows = h('ul', { class: 'lines' });
  told(async () => {
    const where = decodeURIComponent(fromHeader(store));
    const prefix = `${new TextEncoder().encode(name).length.toString(16).padStart(3, '0')}${name}/`;
    const found = await list(where, { prefix, limit: 1000, reverse: 'true' });
    for (const row of found) {
      rows.append(h('li', {}, h('span', { class: 'grow' }, date(Number(row.name.slice(prefix.length))), h('span', { class: 'quiet' }, ` ${size(row.bytes)}`)),
        button('Download', told(() => download(where, row.name, row.bytes))),
        button('Bring back', told(async () => {
          await ask('PUT', address(container, name), { headers: { 'X-Copy-From': `${encodeURIComponent(where)}/${encodeURIComponent(row.name)}` }, body: '' });
          say('Brought it back.');
          after();
        }))));
    }
    if (!found.length) rows.append(h('li', {}, 'There are no older versions.'));
  })();
  return [h('p', { class: 'quiet' }, 'What was written over is kept in another container.'), rows];
}
