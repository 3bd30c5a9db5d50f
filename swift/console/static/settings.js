// What a container is set to: who may read and write, versions, quotas, metadata, its policy for S3.

import { h, show, button, field, dialog, told, say, confirmed, size } from './dom.js';
import { session, address, head, settings, fromHeader, toHeader } from './api.js';
import { metadataEditor } from './metadata.js';
import { readPolicy, writePolicy, s3Keys } from './s3.js';

export function settingsOf(container, changed = () => {}) {
  const body = h('div', {}, h('p', {}, 'Looking …'));
  dialog(`Settings of ${container}`, body, { wide: true });
  const saved = settings(address(container));
  const load = told(async () => {
    const { headers } = await head(container);
    const post = async (sent) => {
      await saved(headers, sent);
      say('Saved the settings.');
      changed();
      await load();
    };
    show(body, access(headers, post), versions(headers, post), quotas(headers, post), policy(container),
      section('Metadata', metadataEditor({ prefix: 'X-Container-Meta-', headers, erase: true, save: post })));
  });
  load();
}

export function accountSettings() {
  const body = h('div', {}, h('p', {}, 'Looking …'));
  dialog(`Settings of ${session.account}`, body, { wide: true });
  const saved = settings(address());
  const load = told(async () => {
    const { headers } = await head();
    const post = async (sent) => {
      await saved(headers, sent);
      say('Saved the settings.');
      await load();
    };
    show(body, session.info.tempauth?.account_acls && grants(headers, post),
      section('Metadata', metadataEditor({ prefix: 'X-Account-Meta-', headers, erase: true, save: post })));
  });
  load();
}

// Who else may use the whole account: a JSON header with three lists.
function grants(headers, post) {
  let now = {};
  try {
    now = JSON.parse(fromHeader(headers.get('X-Account-Access-Control')) || '{}');
  } catch {
    return section('Who may use the whole account', h('p', {}, 'What is set here cannot be read, and is left as it is.'));
  }
  const levels = [['admin', 'These may do everything', 'As owners do, but for deleting the account.'], ['read-write', 'These may read and write', 'In all containers.'], ['read-only', 'These may read', 'All containers.']]
    .map(([level, label, help]) => ({ level, label, help, input: h('input', { value: (now[level] || []).join(', '), spellcheck: 'false' }) }));
  return section('Who may use the whole account', h('p', { class: 'quiet' }, 'Single containers are opened in their own settings.'), h('form', { on: { submit: told(async () => {
    const wanted = Object.fromEntries(levels.map(({ level, input }) => [level, input.value.split(',').map((word) => word.trim()).filter(Boolean)]).filter(([, words]) => words.length));
    if (wanted.admin?.some((word) => !(now.admin || []).includes(word)) && !await confirmed('Make others administrators of this account?', ['They may read, change and delete all that is in it, and let in others.'], { action: 'Let them' })) return;
    await post({ 'X-Account-Access-Control': Object.keys(wanted).length ? toHeader(JSON.stringify(wanted)) : '' });
  }) } }, levels.map(({ label, input, help }) => field(label, input, `${help} Users as ACCOUNT:USER, with commas between.`)), save()));
}

const section = (title, ...content) => h('section', {}, h('h3', {}, title), content);
const save = () => h('div', { class: 'row' }, h('button', { type: 'submit', class: 'main' }, 'Save'));

function access(headers, post) {
  const words = (name) => fromHeader(headers.get(name)).split(',').map((word) => word.trim()).filter(Boolean);
  const reads = words('X-Container-Read');
  const everybody = h('input', { type: 'checkbox', checked: reads.includes('.r:*') });
  const listing = h('input', { type: 'checkbox', checked: reads.includes('.rlistings') });
  const read = h('input', { value: reads.filter((word) => word !== '.r:*' && word !== '.rlistings').join(', '), spellcheck: 'false' });
  const write = h('input', { value: words('X-Container-Write').join(', '), spellcheck: 'false' });
  return section('Who may', h('p', { class: 'quiet' }, 'The account’s owners may do everything. Others are let in here, by access control lists (ACLs).'),
    h('form', { on: { submit: told(async () => {
      if (everybody.checked && !reads.includes('.r:*') && !await confirmed('Let everybody read this?', ['Whoever knows an object’s address can read it, without signing in.'], { action: 'Let everybody read' })) return;
      const list = [everybody.checked && '.r:*', listing.checked && '.rlistings', ...read.value.split(',').map((word) => word.trim())].filter(Boolean);
      await post({ 'X-Container-Read': toHeader(list.join(',')), 'X-Container-Write': toHeader(write.value) });
    }) } },
    field('Everybody may read objects', everybody, 'Without signing in (.r:*).'),
    field('Who may read may also list the names', listing, 'For readers who are let in as everybody is (.rlistings).'),
    field('These may read', read, 'Users or accounts, with commas between: with tempauth ACCOUNT or ACCOUNT:USER, with Keystone PROJECT-ID:USER-ID, * for any.'),
    field('These may write', write, 'In the same way. Whoever may write may upload, write over and delete.'),
    save()));
}

function versions(headers, post) {
  const older = headers.get('X-Versions-Location') || headers.get('X-History-Location');
  if (older) return section('Versions', h('p', {}, `What is written over is kept in the container ${fromHeader(older)} (the older way of keeping versions).`));
  if (!session.info.object_versioning) return null;
  const on = h('input', { type: 'checkbox', checked: headers.get('X-Versions-Enabled') === 'True' });
  return section('Versions', h('form', { on: { submit: told(() => post({ 'X-Versions-Enabled': String(on.checked) })) } },
    field('Keep versions', on, 'Each object that is written over or deleted stays as a version, takes its space, and can be brought back. Switched off, what is kept stays, and no more is added.'), save()));
}

function quotas(headers, post) {
  if (!session.info.container_quotas) return null;
  const bytes = h('input', { type: 'number', min: '0', value: headers.get('X-Container-Meta-Quota-Bytes') || '' });
  const count = h('input', { type: 'number', min: '0', value: headers.get('X-Container-Meta-Quota-Count') || '' });
  return section('Limits', h('form', { on: { submit: told(() => post({ 'X-Container-Meta-Quota-Bytes': bytes.value, 'X-Container-Meta-Quota-Count': count.value })) } },
    field('Most bytes', bytes, `Uploads beyond are refused; empty: no limit. It holds ${size(headers.get('X-Container-Bytes-Used') || 0)} now.`),
    field('Most objects', count, 'Empty: no limit.'), save()));
}

function policy(container) {
  // The keys are those of one's own account: in it a bucket of the same name would be meant.
  if (!session.info.s3api || !crypto.subtle || session.account !== session.home) return null;
  const place = h('div', {});
  const open = button('Look at the policy', told(async () => {
    const keys = await s3Keys();
    if (!keys) return;
    const text = h('textarea', { rows: 12, spellcheck: 'false', value: await readPolicy(container, keys) });
    const had = Boolean(text.value);
    show(place, h('form', { on: { submit: told(async () => {
      if (text.value.trim()) {
        try {
          JSON.parse(text.value);
        } catch (error) {
          throw Object.assign(new Error(), { sentence: `The policy is not JSON: ${error.message}` });
        }
      } else if (had && !await confirmed('Remove the policy?', ['What only it allowed or denied is no longer so.'], { action: 'Remove' })) return;
      await writePolicy(container, text.value, keys);
      say(text.value.trim() ? 'Saved the policy.' : 'There is no policy now.');
    }) } }, field('Policy', text, 'JSON as for AWS: Version, Statement with Effect, Principal, Action, Resource. Empty: none.'), save()));
    text.focus();
  }));
  show(place, open);
  return section('Policy for S3', h('p', { class: 'quiet' }, 'What S3 clients may do beyond and against the lists above.'), place);
}
