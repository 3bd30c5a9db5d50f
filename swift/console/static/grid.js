// A list of any length: pages are asked for by marker when they come near the view, and only what is seen has elements.

import { h, id, complain } from './dom.js';

const PAGE = 1000;
const PAGES_KEPT = 60; // with their rows; of the others only the marker is known
const TALLEST = 12_000_000; // pixels that every browser can scroll over
const BESIDE = 12; // rows drawn above and below the view

export class Grid {
  // columns: [{name, className}]; cells(row): an array of nodes or texts, one for each column; fetchPage(marker, limit): rows.
  constructor({ label, columns, cells, key, fetchPage, markerOf = key, onOpen, onSelection = () => {}, onDelete, onLoad = () => {} }) {
    Object.assign(this, { columns, cells, key, fetchPage, markerOf, onOpen, onSelection, onDelete, onLoad });
    this.pages = []; // {marker, start, count, rows}
    this.count = 0;
    this.complete = false;
    this.loading = null;
    this.failed = false;
    this.current = 0;
    this.anchor = 0;
    this.selected = new Map();
    this.drawn = new Map();
    this.gone = new Set();
    this.stem = id('row');
    this.rows = h('div', { role: 'rowgroup', class: 'grid-rows' });
    this.element = h('div', { role: 'grid', class: 'grid', tabindex: '0', 'aria-label': label, 'aria-multiselectable': 'true', 'aria-rowcount': '-1' },
      h('div', { role: 'rowgroup', class: 'grid-head' },
        h('div', { role: 'row', class: 'grid-row', 'aria-rowindex': '1' },
          h('span', { role: 'columnheader', class: 'mark' }, h('span', { class: 'unseen' }, 'Selected')),
          columns.map((column) => h('span', { role: 'columnheader', class: column.className }, column.name)))),
      this.rows);
    this.element.addEventListener('scroll', () => this.plan());
    this.element.addEventListener('keydown', (event) => this.pressed(event));
    this.rows.addEventListener('click', (event) => this.clicked(event));
    this.watch = new ResizeObserver(() => this.plan());
    this.watch.observe(this.element);
  }

  stop() {
    this.watch.disconnect();
    this.stopped = true;
  }

  // Forgets all rows and begins anew; what was selected stays if `keep`.
  async reload(keep = false) {
    this.generation = (this.generation || 0) + 1;
    Object.assign(this, { pages: [], count: 0, complete: false, loading: null, failed: false });
    if (!keep) this.select(new Map());
    await this.more();
    this.current = Math.min(this.current, Math.max(0, this.count - 1));
    this.draw();
  }

  // What was just deleted: a replica of the listing may not know of it for a moment.
  hide(keys) {
    for (const key of keys) {
      this.gone.add(key);
      setTimeout(() => this.gone.delete(key), 60000);
    }
  }

  get rowHeight() {
    return matchMedia('(max-width: 640px)').matches ? 56 : 40;
  }

  async more() {
    if (this.complete || this.loading || this.stopped) return this.loading;
    const last = this.pages[this.pages.length - 1];
    const page = { marker: last ? last.end : '', start: this.count, count: 0, asked: PAGE, rows: null };
    this.loading = this.fill(page, true);
    return this.loading;
  }

  async fill(page, isNew) {
    const generation = this.generation;
    page.coming = true;
    try {
      const fetched = await this.fetchPage(page.marker, page.asked);
      if (generation !== this.generation || this.stopped) return;
      page.rows = fetched.filter((row) => !this.gone.has(this.key(row)));
      if (isNew) {
        page.count = page.rows.length;
        page.asked = fetched.length;
        if (fetched.length < PAGE) this.complete = true;
        if (fetched.length) {
          page.end = this.markerOf(fetched[fetched.length - 1]);
          this.pages.push(page);
          this.count += page.count;
        }
        this.onLoad(this.count, this.complete);
      }
      this.failed = false;
    } catch (error) {
      if (generation === this.generation) {
        this.failed = true;
        complain(error);
        this.onLoad(this.count, this.complete, error);
      }
    } finally {
      page.coming = false;
      if (generation === this.generation) {
        this.loading = null;
        this.forget(page);
        this.plan();
      }
    }
  }

  // Rows far from the page that came last are let go.
  forget(near) {
    const kept = this.pages.filter((page) => page.rows);
    if (kept.length <= PAGES_KEPT) return;
    kept.sort((a, b) => Math.abs(b.start - near.start) - Math.abs(a.start - near.start));
    for (const page of kept.slice(0, kept.length - PAGES_KEPT)) page.rows = null;
  }

  pageAt(index) {
    let low = 0;
    let high = this.pages.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.pages[middle].start <= index) low = middle;
      else high = middle - 1;
    }
    return this.pages[low];
  }

  row(index) {
    const page = this.pageAt(index);
    if (page && !page.rows && !page.coming) this.fill(page, false);
    return page?.rows?.[index - page.start];
  }

  // -- what is seen

  plan() {
    if (this.planned) return;
    this.planned = true;
    requestAnimationFrame(() => { this.planned = false; this.draw(); });
  }

  measure() {
    const full = this.count * this.rowHeight;
    const height = Math.min(full, TALLEST);
    const view = Math.max(0, this.element.clientHeight - this.rowHeight);
    // Where a list is taller than browsers can scroll, each pixel stands for more than one.
    const scale = full > height ? (full - view) / (height - view) : 1;
    return { full, height, view, scale };
  }

  draw() {
    if (this.stopped) return;
    const { height, view, scale } = this.measure();
    const top = this.element.scrollTop * scale;
    const first = Math.max(0, Math.floor(top / this.rowHeight) - BESIDE);
    const end = Math.min(this.count, Math.ceil((top + view) / this.rowHeight) + BESIDE);
    this.rows.style.height = `${height}px`;
    const shift = this.element.scrollTop - top;
    const drawn = new Map();
    for (let index = first; index < end; index += 1) drawn.set(index, this.drawRow(index, index * this.rowHeight + shift));
    for (const [index, { element }] of this.drawn) if (drawn.get(index)?.element !== element) element.remove();
    // In their order, for those who hear them; what is there stays, or a click would lose its row half-way.
    let before = null;
    for (const { element } of drawn.values()) {
      if (before ? before.nextSibling !== element : this.rows.firstChild !== element) before ? before.after(element) : this.rows.prepend(element);
      before = element;
    }
    this.drawn = drawn;
    this.element.setAttribute('aria-rowcount', this.complete ? String(this.count + 1) : '-1');
    if (this.count && this.current >= first && this.current < end) this.element.setAttribute('aria-activedescendant', `${this.stem}-${this.current}`);
    else this.element.removeAttribute('aria-activedescendant');
    if (!this.complete && !this.failed && end > this.count - 2 * BESIDE - view / this.rowHeight) this.more();
  }

  drawRow(index, offset) {
    const row = this.row(index);
    const chosen = row !== undefined && this.selected.has(this.key(row));
    const known = this.drawn.get(index);
    if (known && known.row === row && known.chosen === chosen) {
      known.element.classList.toggle('current', index === this.current);
      known.element.style.transform = `translateY(${offset}px)`;
      return known;
    }
    const element = h('div', { role: 'row', class: 'grid-row', id: `${this.stem}-${index}`, 'aria-rowindex': index + 2, 'aria-selected': String(chosen), 'data-index': index },
      h('span', { role: 'gridcell', class: 'mark' }, h('span', { class: 'box', 'aria-hidden': 'true' }, chosen ? '✓' : ''), h('span', { class: 'unseen' }, chosen ? 'selected' : 'not selected')),
      (row === undefined ? this.columns.map(() => '…') : this.cells(row)).map((cell, at) => h('span', { role: 'gridcell', class: this.columns[at].className }, cell)));
    if (index === this.current) element.classList.add('current');
    element.style.transform = `translateY(${offset}px)`;
    return { element, row, chosen };
  }

  goTo(index, extend) {
    this.current = Math.max(0, Math.min(this.count - 1, index));
    const { view, scale } = this.measure();
    const at = this.current * this.rowHeight;
    const top = this.element.scrollTop * scale;
    if (at < top) this.element.scrollTop = at / scale;
    else if (at + this.rowHeight > top + view) this.element.scrollTop = (at + this.rowHeight - view) / scale;
    if (extend) this.selectRange(this.anchor, this.current);
    else this.anchor = this.current;
    this.draw();
  }

  // -- selection

  select(selected) {
    this.selected = selected;
    this.onSelection(selected);
    this.draw();
  }

  toggle(index) {
    const row = this.row(index);
    if (row === undefined) return;
    const selected = new Map(this.selected);
    if (!selected.delete(this.key(row))) selected.set(this.key(row), row);
    this.anchor = index;
    this.select(selected);
  }

  selectRange(from, to) {
    const selected = new Map(this.selected);
    for (let index = Math.min(from, to); index <= Math.max(from, to); index += 1) {
      const row = this.row(index);
      if (row !== undefined) selected.set(this.key(row), row);
    }
    this.select(selected);
  }

  selectAll() {
    this.select(new Map(this.pages.flatMap((page) => page.rows || []).map((row) => [this.key(row), row])));
  }

  // -- keys and clicks

  pressed(event) {
    if (event.target !== this.element || event.altKey) return;
    const step = Math.max(1, Math.floor(this.element.clientHeight / this.rowHeight) - 2);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: step, PageUp: -step, Home: -Infinity, End: Infinity };
    if (event.key in moves) {
      const to = this.current + moves[event.key];
      this.goTo(Number.isFinite(to) ? to : to < 0 ? 0 : this.count - 1, event.shiftKey);
    } else if (event.key === 'Enter') {
      const row = this.row(this.current);
      if (row !== undefined) this.onOpen(row);
    } else if (event.key === ' ') this.toggle(this.current);
    else if (event.key === 'Delete' && this.onDelete) this.onDelete();
    else if (event.key === 'Escape') this.select(new Map());
    else if (event.key === 'a' && (event.ctrlKey || event.metaKey)) this.selectAll();
    else return;
    event.preventDefault();
  }

  clicked(event) {
    const element = event.target.closest('.grid-row');
    if (!element) return;
    const index = Number(element.dataset.index);
    this.current = index;
    const row = this.row(index);
    if (event.shiftKey) this.selectRange(this.anchor, index);
    else if (event.target.closest('.mark')) this.toggle(index);
    else if (row !== undefined) this.onOpen(row);
  }
}
