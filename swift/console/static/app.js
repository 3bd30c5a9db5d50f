// Where it begins: signing in, the page's head, and which view is shown.

import { h, show, button, field, told, say, hush, dialog, explained, complain } from './dom.js';
import { session, prepare, signInByKey, signInByKeystone, signOut, isSignedIn } from './api.js';
import { accountView } from './containers.js';
import { containerView } from './objects.js';
import { operatorView } from './operator.js';
import { uploads } from './uploads.js';
import { read, go, written, accountIs } from './places.js';

const main = document.getElementById('main');
const top = document.getElementById('top');
let leave = () => {};
let shown = '';

accountIs(() => session.account);

function heading() {
  const place = read(location.hash);
  const tab = (text, hash, current) => h('a', { href: hash, ...(current ? { 'aria-current': 'page' } : {}) }, text);
  show(top,
    h('a', { class: 'brand', href: '#/' }, h('img', { src: 'icon.svg', alt: '', width: 28, height: 28 }), 'Console'),
    isSignedIn() && h('nav', { 'aria-label': 'Views' },
      tab('Storage', written({ account: session.account }), place.view !== 'cluster'),
      session.operator && tab('Cluster', '#/cluster', place.view === 'cluster')),
    isSignedIn() && h('div', { class: 'who' }, h('span', { class: 'quiet' }, `${session.user}${session.account === session.home ? '' : ` in ${session.account}`}`),
      button('Account …', otherAccount), button('Sign out', leaveSession)));
}

function route() {
  hush();
  leave();
  leave = () => {};
  // What a dialog does it does where it was opened, and nowhere else.
  for (const box of document.querySelectorAll('dialog[open]')) box.close();
  heading();
  if (!isSignedIn()) return signInView();
  const place = read(location.hash);
  if (place.account) session.account = place.account;
  heading();
  if (place.view === 'cluster' && session.operator) {
    document.title = 'Cluster – Console';
    leave = operatorView(main);
  } else if (place.container) {
    document.title = `${place.prefix || place.container} – Console`;
    leave = containerView(main, place.container, place.prefix || '');
  } else {
    document.title = 'Containers – Console';
    leave = accountView(main);
  }
  if (shown) main.querySelector('h1')?.focus({ preventScroll: true });
  shown = location.hash;
  return undefined;
}

function otherAccount() {
  const name = h('input', { required: true, value: session.account, spellcheck: 'false', autocomplete: 'off' });
  const container = h('input', { spellcheck: 'false', autocomplete: 'off' });
  const made = dialog('Open an account', h('form', { on: { submit: told(async () => {
    made.close();
    go({ account: name.value, container: container.value });
  }) } },
  h('p', {}, 'Yours is opened when you sign in. Others that have let you in are opened by their names; administrators may open any.'),
  field('Account', name, 'As in the storage URL, such as AUTH_test.'),
  field('Container', container, 'If you were let into one container only.'),
  h('div', { class: 'row' }, h('button', { type: 'submit', class: 'main' }, 'Open'), session.account !== session.home && button('Mine', () => { made.close(); go({ account: session.home }); }))));
}

function leaveSession() {
  uploads.stopAll();
  signOut();
  location.hash = '#/';
  route();
}

session.ended = () => {
  if (!isSignedIn()) return;
  signOut();
  route();
  complain({ sentence: 'Your session has ended. Sign in again: you come back to where you were, and uploads can go on.' });
};

// -- signing in

function signInView() {
  document.title = 'Sign in – Console';
  const { tempauth, keystone } = session.settings;
  const ways = [];
  if (tempauth && (session.info.tempauth || !keystone)) ways.push(['tempauth', 'User and key']);
  if (keystone) ways.push(['keystone', 'Keystone']);
  let way = ways[0]?.[0];
  const form = h('form', { class: 'signin', on: { submit: told(async () => {
    const value = (name) => form.elements.namedItem(name)?.value.trim() || '';
    const secret = form.elements.namedItem('secret').value;
    if (way === 'keystone') await signInByKeystone({ user: value('user'), password: secret, project: value('project'), userDomain: value('domain'), projectDomain: value('project_domain') });
    else await signInByKey(value('user'), secret);
    shown = 'signed in';
    say(`Signed in as ${session.user}.`);
    route();
  }) } });
  const input = (name, props) => h('input', { name, spellcheck: 'false', autocapitalize: 'none', ...props });
  const draw = () => {
    const choice = ways.length > 1 && h('fieldset', { class: 'ways' }, h('legend', {}, 'Sign in with'), ways.map(([value, text]) => h('label', { class: 'inline' }, h('input', { type: 'radio', name: 'way', value, checked: way === value, on: { change: () => { way = value; draw(); form.querySelector('input:checked').focus(); } } }), ` ${text}`)));
    show(form, choice, way === 'keystone'
      ? [field('User', input('user', { required: true, autocomplete: 'username' })), field('Password', input('secret', { type: 'password', required: true, autocomplete: 'current-password' })), field('Project', input('project', {}), 'Empty: your default project.'), field('Domain of the user', input('domain', { value: 'Default' })), field('Domain of the project', input('project_domain', { value: 'Default' }))]
      : [field('User', input('user', { required: true, autocomplete: 'username' }), 'ACCOUNT:USER, such as test:tester.'), field('Key', input('secret', { type: 'password', required: true, autocomplete: 'current-password' }))],
    h('div', { class: 'row' }, h('button', { type: 'submit', class: 'main' }, 'Sign in')));
  };
  draw();
  show(main, h('div', { class: 'card' }, h('h1', { tabindex: '-1' }, 'Sign in'), h('p', { class: 'quiet' }, `Object storage at ${location.host}`), form,
    explained('What is this?', 'A console for an object store: it shows your containers and objects, uploads, downloads and shares them. It speaks to the store from your browser, with your rights, by the same API as all clients.',
      'What you sign in with is forgotten when this page is closed or loaded again: nothing is kept in the browser.')));
  if (shown) form.querySelector('input')?.focus();
}

addEventListener('hashchange', () => { if (location.hash !== shown) route(); });
show(main, h('p', { class: 'quiet' }, 'Loading …'));
try {
  await prepare();
  route();
} catch (error) {
  complain(error);
}
