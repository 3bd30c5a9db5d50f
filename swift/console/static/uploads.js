// Uploads: a queue with progress. Large files go in segments, side by side, and are joined by a manifest at the end (SLO).
// What was sent of a file before is found again by its name, time and size, checked, and not sent anew.

import { h, show, button, told, say, size, many, complain, confirmed } from './dom.js';
import { session, ask, address as anyAddress, headers, list, removeAll, manifestOf, hasOlder, Failure, sentence } from './api.js';
import { md5 } from './md5.js';

const AT_ONCE = 3; // files, and segments of a file
const TRIES = 5;
const MOST_SHOWN = 200;

const queue = [];
let running = 0;

class Upload {
  constructor(file, name, container, done) {
    Object.assign(this, { file, name, container, done, account: session.account, state: 'waiting', sent: 0, why: '', parts: new Set(), replace: false, running: null, stopper: null });
    this.bar = h('progress', { max: 1, value: 0, 'aria-label': `Progress of ${name}` });
    this.text = h('span', { class: 'quiet' });
    this.buttons = h('span', { class: 'row' });
    this.element = h('li', {}, h('span', { class: 'name' }, name), this.bar, this.text, this.buttons);
    this.draw();
  }

  // Always in the account that the file was dropped into, whichever is looked at meanwhile.
  address(container, object, query) { return anyAddress(container, object, query, this.account); }

  get store() { return `${this.container}_segments`; }

  stem(step) { return `${this.name}/slo/${(this.file.lastModified / 1000).toFixed(6)}/${this.file.size}/${step}/`; }

  get isOver() { return ['done', 'stopped', 'skipped'].includes(this.state); }

  draw() {
    this.bar.value = this.file.size ? this.sent / this.file.size : this.state === 'done' ? 1 : 0;
    this.bar.hidden = this.isOver;
    const texts = { waiting: 'waits', checking: 'looking for what was sent before', sending: `${size(this.sent)} of ${size(this.file.size)}`, paused: `paused at ${size(this.sent)} of ${size(this.file.size)}`, failed: this.why, exists: 'An object of this name is there already.', done: `done, ${size(this.file.size)}`, stopped: this.isLarge ? 'stopped; what was sent stays, so that it can go on when the file is dropped again' : 'stopped', skipped: 'left as it was' };
    this.text.textContent = texts[this.state];
    if (this.shown === this.state) return;
    this.shown = this.state;
    const label = (text) => ({ 'aria-label': `${text}: ${this.name}` });
    const go = (text) => button(text, () => this.go(), label(text));
    const stop = button('Stop', () => this.stop(), { class: 'plain', ...label('Stop') });
    const offered = {
      waiting: [stop], checking: [stop], sending: [button('Pause', () => this.pause(), label('Pause')), stop], paused: [go('Resume'), stop], failed: [go('Try again'), stop],
      exists: [button('Replace', () => { this.replace = true; this.go(); }, label('Replace')), button('Leave it', () => this.end('skipped'), label('Leave it'))],
      stopped: this.isLarge ? [button('Remove what was sent', told(() => this.forget()), label('Remove what was sent'))] : [],
    };
    show(this.buttons, offered[this.state] || []);
    panel();
  }

  become(state, why = '') {
    Object.assign(this, { state, why });
    this.draw();
  }

  go() {
    this.become('waiting');
    next();
  }

  pause() {
    this.become('paused');
    this.abort();
  }

  stop() {
    this.become('stopped');
    this.abort();
  }

  end(state) {
    this.become(state);
    this.file = { size: this.file.size };
  }

  abort() {
    this.stopper?.abort();
    for (const request of this.parts) request.abort();
    this.parts.clear();
  }

  // Ends for good when it was paused or stopped: what goes on later is another run.
  async run() {
    const { signal } = this.stopper = new AbortController();
    try {
      const step = segmentSize(this.file.size);
      this.isLarge = this.file.size > step && Boolean(session.info.slo);
      const before = this.replace ? await this.segmentsBefore() : [];
      if (this.isLarge) await this.inSegments(step);
      else await this.whole();
      await this.tidy(before, this.isLarge ? this.stem(step) : '').catch(() => {});
      this.end('done');
      this.done();
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 412 && !this.replace) this.become('exists');
      else this.become('failed', error.sentence || 'The connection broke.');
    }
  }

  async whole() {
    this.stopper.signal.throwIfAborted();
    this.become('sending');
    await this.send(this.address(this.container, this.name), this.file, this.kind(), (sent) => { this.sent = sent; this.draw(); });
  }

  // Older versions of the object may be made of its segments.
  async hasOlder() {
    return hasOlder((await ask('HEAD', this.address(this.container))).headers);
  }

  // What the object is made of now, as far as it was put there by uploads like this one.
  async segmentsNow() {
    const own = `/${this.store}/${this.name}/slo/`;
    const manifest = await manifestOf(this.container, this.name, this.account) || [];
    return manifest.map((segment) => segment.name).filter((name) => name?.startsWith(own)).map((name) => name.slice(this.store.length + 2));
  }

  // The segments of a large object that is written over: nothing else is made of them.
  async segmentsBefore() {
    return await this.hasOlder() ? [] : this.segmentsNow();
  }

  async tidy(names, stem) {
    const inUse = new Set(names.length ? await this.segmentsNow() : []);
    const unused = names.filter((name) => !inUse.has(name) && !(stem && name.startsWith(stem)));
    if (unused.length) await removeAll(unused.map((name) => [this.store, name]), undefined, this.account);
  }

  async forget() {
    await this.running;
    if (this.state !== 'stopped') return;
    if (await this.hasOlder()) throw Object.assign(new Error(), { sentence: 'This container keeps versions, which may be made of what was sent: it stays.' });
    const step = segmentSize(this.file.size);
    const rows = await list(this.store, { prefix: this.stem(step), limit: 10000 }, this.account).catch(() => []);
    await this.tidy(rows.map((row) => row.name), '');
    this.isLarge = false;
    this.shown = '';
    this.draw();
  }

  kind() {
    const kind = { 'Content-Type': this.file.type || 'application/octet-stream', 'X-Object-Meta-Mtime': String(this.file.lastModified / 1000) };
    if (!this.replace) kind['If-None-Match'] = '*';
    return kind;
  }

  async inSegments(step) {
    const { signal } = this.stopper;
    signal.throwIfAborted();
    this.become('checking');
    if (!this.replace) {
      const there = await ask('HEAD', this.address(this.container, this.name), { good: [404] });
      if (there.ok) throw new Failure(412, sentence(412));
    }
    const { store } = this;
    await ask('PUT', this.address(store));
    const stem = this.stem(step);
    const there = new Map();
    for (let marker = ''; ;) {
      const page = await list(store, { prefix: stem, marker, limit: 1000 }, this.account);
      for (const row of page) there.set(row.name, row);
      if (page.length < 1000) break;
      marker = page[page.length - 1].name;
    }
    const segments = [];
    for (let from = 0; from < this.file.size; from += step) segments.push({ name: stem + String(segments.length).padStart(8, '0'), from, to: Math.min(from + step, this.file.size) });
    const sent = segments.map(() => 0);
    const progress = () => { this.sent = sent.reduce((sum, each) => sum + each, 0); this.draw(); };
    this.resumed = 0;
    let at = 0;
    let isBroken = false;
    const one = async () => {
      while (at < segments.length && !isBroken) {
        signal.throwIfAborted();
        const index = at;
        at += 1;
        const segment = segments[index];
        const data = this.file.slice(segment.from, segment.to);
        const known = there.get(segment.name);
        if (known && known.bytes === data.size && known.hash === await md5(data)) {
          segment.etag = known.hash;
          this.resumed += 1;
        } else {
          signal.throwIfAborted();
          if (this.state === 'checking') this.become('sending');
          segment.etag = await this.send(this.address(store, segment.name), data, { 'Content-Type': 'application/octet-stream' }, (done) => { sent[index] = done; progress(); });
        }
        sent[index] = data.size;
        progress();
      }
    };
    const ends = await Promise.allSettled(Array.from({ length: AT_ONCE }, () => one().catch((error) => { isBroken = true; throw error; })));
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
    signal.throwIfAborted();
    const manifest = segments.map((segment) => ({ path: `/${store}/${segment.name}`, etag: segment.etag, size_bytes: segment.to - segment.from }));
    await ask('PUT', this.address(this.container, this.name, { 'multipart-manifest': 'put' }), { headers: this.kind(), body: JSON.stringify(manifest) });
  }

  // PUT of a blob, with its progress; tried again while the connection or the server fails. Returns the ETag.
  async send(url, blob, kind, progress) {
    const { signal } = this.stopper;
    for (let tried = 1; ; tried += 1) {
      try {
        return await this.sendOnce(url, blob, kind, progress);
      } catch (error) {
        const mayGoOn = !(error instanceof Failure) || [408, 429, 498, 499].includes(error.status) || error.status >= 500;
        if (!mayGoOn || tried === TRIES || signal.aborted) throw error;
        await new Promise((resume) => {
          setTimeout(resume, 500 * 2 ** tried);
          signal.addEventListener('abort', resume, { once: true });
        });
        if (signal.aborted) throw error;
      }
    }
  }

  sendOnce(url, blob, kind, progress) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      this.parts.add(request);
      request.open('PUT', url);
      for (const [name, value] of Object.entries(headers(kind))) request.setRequestHeader(name, value);
      request.upload.addEventListener('progress', (event) => progress(event.loaded));
      request.addEventListener('loadend', () => {
        this.parts.delete(request);
        if (request.status >= 200 && request.status < 300) return resolve((request.getResponseHeader('Etag') || '').replaceAll('"', ''));
        if (request.status === 401) session.ended();
        if (!request.status) return reject(new Error('broken'));
        return reject(new Failure(request.status, sentence(request.status, '', request.getResponseHeader('X-Trans-Id'))));
      });
      request.send(blob);
    });
  }
}

// What the settings say, and more where a manifest would have too many segments.
function segmentSize(bytes) {
  const most = session.info.slo?.max_manifest_segments || 1000;
  return Math.max(session.settings.segment_size, session.info.slo?.min_segment_size || 1, Math.ceil(bytes / most));
}

function next() {
  for (const upload of queue) {
    if (running >= AT_ONCE) return;
    if (upload.state !== 'waiting' || upload.running) continue;
    running += 1;
    upload.state = 'checking';
    upload.running = upload.run().finally(() => { running -= 1; upload.running = null; next(); });
  }
}

// -- the panel

const items = h('ul', { class: 'lines' });
const title = h('h2', {});
const acts = h('div', { class: 'row' });
let planned = false;

function panel() {
  if (planned) return;
  planned = true;
  requestAnimationFrame(() => {
    planned = false;
    const place = document.getElementById('transfers');
    place.hidden = queue.length === 0;
    const left = queue.filter((upload) => !upload.isOver).length;
    const exists = queue.filter((upload) => upload.state === 'exists');
    const failed = queue.filter((upload) => upload.state === 'failed' || upload.state === 'paused');
    title.textContent = left ? `Uploads: ${many(left, 'file')} to go` : `Uploads: ${many(queue.filter((upload) => upload.state === 'done').length, 'file')} done`;
    const order = [...queue].sort((a, b) => a.isOver - b.isOver);
    items.replaceChildren(...order.slice(0, MOST_SHOWN).map((upload) => upload.element));
    if (order.length > MOST_SHOWN) items.append(h('li', {}, `and ${many(order.length - MOST_SHOWN, 'more file')}`));
    show(acts,
      exists.length > 1 && button(`Replace all ${exists.length}`, () => replaceAll(exists)),
      exists.length > 1 && button('Leave all', () => exists.forEach((upload) => upload.end('skipped')), { class: 'plain' }),
      failed.length > 1 && button('Go on with all', () => failed.forEach((upload) => upload.go())),
      left > 1 && button('Stop all', () => queue.filter((upload) => !upload.isOver).forEach((upload) => upload.stop()), { class: 'plain' }),
      !left && button('Close', () => { queue.length = 0; panel(); }, { class: 'plain' }));
    if (!place.contains(items)) show(place, h('div', { class: 'dialog-head' }, title, acts), items);
    if (!left && queue.length && panel.busy) say(title.textContent);
    panel.busy = left > 0;
  });
}

async function replaceAll(exists) {
  if (!await confirmed(`Replace ${many(exists.length, 'object')}?`, ['What is there now is written over.'], { action: 'Replace' })) return;
  for (const upload of exists) { upload.replace = true; upload.go(); }
}

addEventListener('beforeunload', (event) => {
  if (queue.some((upload) => ['waiting', 'checking', 'sending'].includes(upload.state))) event.preventDefault();
});

// -- what was dropped: files, and folders with all that is in them

function entriesIn(reader) {
  return new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
}

async function walk(entry, path, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => { entry.file(resolve, reject); });
    found.push({ file, name: path + entry.name });
  } else if (entry.isDirectory) {
    const reader = entry.createReader();
    for (let some = await entriesIn(reader); some.length; some = await entriesIn(reader)) for (const each of some) await walk(each, `${path}${entry.name}/`, found);
  }
}

export const uploads = {
  // files: [{file, name}]; changed() is called when one is done.
  add(files, container, changed) {
    for (const { file, name } of files) queue.push(new Upload(file, name, container, changed));
    if (!files.length) complain({ sentence: 'There was no file in what was dropped.' });
    panel();
    next();
  },

  async dropped(transfer, prefix) {
    const entries = [...transfer.items].filter((item) => item.kind === 'file').map((item) => item.webkitGetAsEntry?.() || item.getAsFile());
    const found = [];
    for (const entry of entries) {
      if (entry instanceof File) found.push({ file: entry, name: prefix + entry.name });
      else if (entry) await walk(entry, prefix, found);
    }
    return found;
  },

  stopAll() {
    for (const upload of queue) if (!upload.isOver) upload.stop();
    queue.length = 0;
    panel();
  },
};
