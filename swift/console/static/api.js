// The servers' public API, asked in the name of whoever is signed in.
// The token is in this module's memory and nowhere else: not in an address, not in any storage. Who reloads the page signs in again.

let token = '';
export const session = { account: '', user: '', project: '', operator: false, info: {}, settings: {}, ended: () => {} };

export class Failure extends Error {
  constructor(status, sentence, response) {
    super(`${status} ${sentence}`);
    this.status = status;
    this.sentence = sentence;
    this.response = response;
  }
}

const SENTENCES = {
  400: 'The server did not understand this.',
  401: 'Your session has ended. Sign in again.',
  403: 'You are not allowed to do this.',
  404: 'It is not there (any more).',
  405: 'The server does not offer this.',
  409: 'Something else is in the way: a container must be empty before it is deleted, and a newer change is never overwritten.',
  411: 'The server wants to know the size first.',
  412: 'It has changed meanwhile, or is there already.',
  413: 'It is too large, or a quota is full.',
  422: 'It arrived damaged and was not stored. Try again.',
  423: 'It is locked.',
  429: 'Too many requests. Try again in a moment.',
  498: 'Too many requests. Try again in a moment.',
  499: 'The connection broke.',
  503: 'The cluster cannot do this just now. Try again in a moment.',
  507: 'The cluster is full.',
};

export function sentence(status, reason, transaction) {
  const text = SENTENCES[status] || (status >= 500 ? 'The server failed.' : `The server answered ${status}.`);
  return [text, reason, status >= 500 && transaction ? `(Transaction ${transaction})` : ''].filter(Boolean).join(' ');
}

// -- text in headers: UTF-8, which browsers take for Latin-1

export function toHeader(text) {
  return String.fromCharCode(...new TextEncoder().encode(text));
}

export function fromHeader(value) {
  if (value === null || value === undefined) return '';
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(value, (c) => c.charCodeAt(0)));
  } catch {
    return value;
  }
}

// -- addresses

export class Unreachable extends Error {
  get sentence() { return 'A browser cannot ask for anything named “.” or “..”. Use another client for it.'; }
}

function part(name) {
  if (name === '.' || name === '..') throw new Unreachable(name);
  return encodeURIComponent(name);
}

// Slashes of an object's name are written %2F, so that no browser takes “..” in it for a way up.
export function address(container, object, query, account = session.account) {
  let path = `/v1/${part(account)}`;
  if (container) path += `/${part(container)}`;
  if (object) path += `/${part(object)}`;
  const words = new URLSearchParams(Object.entries(query || {}).filter(([, value]) => value !== undefined && value !== ''));
  const text = words.toString();
  return text ? `${path}?${text}` : path;
}

export class Meanwhile extends Error {
  get sentence() { return 'Somebody else has changed this meanwhile, so nothing was saved. Close it and open it again to see how it is now.'; }
}

// Settings of an account or a container, saved by `save(shown, sent)` unless they are by now what was neither shown nor saved here: what
// somebody else, or another tab, wrote meanwhile is not lost. A replica may still tell what was so before the last save.
export function settings(url) {
  const known = new Map();
  const learn = (name, value) => known.set(name, (known.get(name) || new Set()).add(value || null));
  return async (shown, sent) => {
    for (const name of Object.keys(sent)) learn(name, shown.get(name));
    const { headers: now } = await ask('HEAD', url);
    if (Object.keys(sent).some((name) => !known.get(name).has(now.get(name) || null))) throw new Meanwhile();
    await ask('POST', url, { headers: sent });
    for (const [name, value] of Object.entries(sent)) learn(name, value);
  };
}

export const headers = (more) => ({ 'X-Auth-Token': token, ...more });

export async function ask(method, url, { headers: more, body, signal, good } = {}) {
  const response = await fetch(url, { method, headers: headers(more), body, signal, cache: 'no-store', credentials: 'omit', redirect: 'error' });
  if (response.ok || good?.includes(response.status)) return response;
  throw await failure(response);
}

async function failure(response) {
  if (response.status === 401 && token) session.ended();
  let reason = '';
  if ((response.headers.get('Content-Type') || '').startsWith('text/plain')) reason = (await response.text()).trim().slice(0, 300);
  return new Failure(response.status, sentence(response.status, reason, response.headers.get('X-Trans-Id')), response);
}

export async function list(container, query, account) {
  const response = await ask('GET', address(container, '', { format: 'json', ...query }, account));
  return response.status === 204 ? [] : response.json();
}

export const head = (container, object, query) => ask('HEAD', address(container, object, query));

// Deletes objects (and containers, named alone); returns what could not be. `told(done)` hears how far it is.
export async function removeAll(names, told = () => {}, account = session.account) {
  const bulk = session.info.bulk_delete;
  const most = Math.min(1000, bulk?.max_deletes_per_request || 0);
  const failures = [];
  for (let at = 0; at < names.length; at += most || 1) {
    const some = names.slice(at, at + (most || 1));
    if (most) {
      const lines = some.map(([container, object]) => `${encodeURIComponent(container)}${object === undefined ? '' : `/${encodeURIComponent(object)}`}`);
      const response = await ask('POST', `${address('', '', {}, account)}?bulk-delete`, { headers: { 'Content-Type': 'text/plain', Accept: 'application/json' }, body: `${lines.join('\n')}\n` });
      const answer = await response.json();
      failures.push(...(answer.Errors || []).map(([name, status]) => [decodeURIComponent(name), status]));
      if (!String(answer['Response Status']).startsWith('2') && !answer.Errors?.length) throw new Failure(400, `The server stopped: ${answer['Response Status']} ${answer['Response Body']}`);
    } else {
      const [[container, object]] = some;
      try {
        await ask('DELETE', address(container, object, {}, account), { good: [404] });
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        failures.push([object ?? container, String(error.status)]);
      }
    }
    told(Math.min(at + some.length, names.length));
  }
  return failures;
}

// The manifest of a large object, as it is now: [{name, sub_slo, ...}]; null for all else, also for a link to a large object.
export async function manifestOf(container, name, account = session.account) {
  const url = address(container, name, { 'multipart-manifest': 'get', symlink: 'get' }, account);
  const newest = { headers: { 'X-Newest': 'true' }, good: [404] };
  if (!(await ask('HEAD', url, newest)).headers.get('X-Static-Large-Object')) return null;
  const response = await ask('GET', url, newest);
  return response.ok && response.headers.get('X-Static-Large-Object') ? response.json() : null;
}

// Deletes large objects together with their segments; returns what could not be. A manifest may name whatever its writer could read: what
// lies elsewhere than where segments of this container are put is not deleted with it.
export async function removeLarge(container, names, account = session.account) {
  const failures = [];
  const isOwn = ({ name, sub_slo: isNested }) => !isNested && (name === undefined || ['_segments/', '+segments/'].some((end) => name.startsWith(`/${container}${end}`)));
  for (const name of names) {
    const manifest = await manifestOf(container, name, account);
    if (manifest?.every(isOwn)) {
      const response = await ask('DELETE', address(container, name, { 'multipart-manifest': 'delete' }, account), { headers: { Accept: 'application/json' }, good: [404] });
      if (response.status !== 404) failures.push(...((await response.json()).Errors || []).map(([path, status]) => [decodeURIComponent(path), status]));
    } else {
      await ask('DELETE', address(container, name, {}, account), { good: [404] });
      if (manifest) failures.push([`the segments of ${name}`, 'they lie elsewhere, and something else may be made of them']);
    }
  }
  return failures;
}

// What a container keeps of what is written over or deleted: 'object', or the name of a container for it (the older way), or ''.
export const versionsIn = (headers) => (headers.get('X-Versions-Enabled') === 'True' ? 'object' : headers.get('X-Versions-Location') || headers.get('X-History-Location') || '');

// Returns true if there may be older versions, from a time before they were switched off, too: they need their segments.
export const hasOlder = (headers) => headers.has('X-Versions-Enabled') || Boolean(versionsIn(headers));

// Names of all that lies below a prefix, a page at a time.
export async function* below(container, prefix, account = session.account) {
  let marker = '';
  for (;;) {
    const rows = await list(container, { prefix, marker, limit: 1000 }, account);
    if (!rows.length) return;
    yield rows;
    marker = rows[rows.length - 1].name;
  }
}

// -- signing in and out

export async function prepare() {
  session.settings = await (await fetch('settings.json', { credentials: 'omit' })).json();
  try {
    const response = await fetch('/info', { credentials: 'omit' });
    session.info = response.ok ? await response.json() : {};
  } catch {
    session.info = {};
  }
}

export async function signInByKey(user, key) {
  const response = await fetch(session.settings.tempauth, { headers: { 'X-Auth-User': toHeader(user), 'X-Auth-Key': toHeader(key) }, cache: 'no-store', credentials: 'omit' });
  if (response.status === 401 || response.status === 403) throw new Failure(response.status, 'There is no such user, or the key is wrong.');
  if (!response.ok) throw await failure(response);
  const storage = response.headers.get('X-Storage-Url') || '';
  await begin(response.headers.get('X-Auth-Token'), accountOf(storage), user);
}

export async function signInByKeystone({ user, password, project, userDomain, projectDomain }) {
  const body = {
    auth: {
      identity: { methods: ['password'], password: { user: { name: user, domain: { name: userDomain || 'Default' }, password } } },
      ...(project ? { scope: { project: { name: project, domain: { name: projectDomain || userDomain || 'Default' } } } } : {}),
    },
  };
  const response = await fetch(`${session.settings.keystone}/auth/tokens`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body), cache: 'no-store', credentials: 'omit' });
  if (response.status === 401) throw new Failure(401, 'Keystone knows no such user, project or domain, or the password is wrong.');
  if (!response.ok) throw new Failure(response.status, sentence(response.status));
  const told = (await response.json()).token;
  if (!told.project) throw new Failure(400, 'This user has no default project: name one.');
  const endpoints = (told.catalog || []).filter((service) => service.type === 'object-store').flatMap((service) => service.endpoints);
  const storage = endpoints.find((endpoint) => endpoint.interface === 'public')?.url || '';
  await begin(response.headers.get('X-Subject-Token'), accountOf(storage) || `AUTH_${told.project.id}`, `${told.user.name} (${told.project.name})`);
}

// The proxy that served this page also serves the account, by whatever name it is known outside.
function accountOf(url) {
  try {
    return decodeURIComponent(new URL(url, location.href).pathname.split('/').pop());
  } catch {
    return '';
  }
}

async function begin(given, account, user) {
  if (!given) throw new Failure(500, 'The server gave no token. If it is Keystone, it must let pages of this address read X-Subject-Token (CORS).');
  token = given;
  Object.assign(session, { account, home: account, user, operator: false });
  try {
    session.operator = (await (await ask('GET', 'operator')).json()).operator;
  } catch {
    session.operator = false;
  }
}

export function signOut() {
  token = '';
  Object.assign(session, { account: '', home: '', user: '', operator: false, s3: undefined });
}

export const isSignedIn = () => Boolean(token);
