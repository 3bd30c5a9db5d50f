// Pictures of figures, as SVG with words for those who do not see them.

import { h, svg, id } from './dom.js';

// Narrow on a phone, so that what is written stays large enough.
let across = 1000;
export function fit() { across = matchMedia('(max-width: 640px)').matches ? 420 : 1000; }

function picture(title, height, ...content) {
  const name = id('picture');
  return svg('svg', { viewBox: `0 0 ${across} ${height}`, role: 'img', 'aria-labelledby': name, class: 'picture' }, svg('title', { id: name }, title), content);
}

const grade = (share) => (share > 0.95 ? 'fill bad' : share > 0.9 ? 'fill warn' : 'fill');

export function fillBar(share) {
  const percent = Math.round(share * 100);
  const bar = svg('svg', { viewBox: '0 0 100 10', class: 'bar', 'aria-hidden': 'true', preserveAspectRatio: 'none' }, svg('rect', { width: 100, height: 10, class: 'track' }), svg('rect', { width: Math.max(1, percent), height: 10, class: grade(share) }));
  return h('span', { class: 'bar-cell' }, bar, ` ${percent} %`);
}

const zoneOf = (device) => `r${device.region} z${device.zone}`;

function byZone(devices, zone = zoneOf) {
  const zones = new Map();
  for (const device of devices) zones.set(zone(device), [...(zones.get(zone(device)) || []), device]);
  return [...zones].sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }));
}

// One column a disk, in the order of zones: how full it is.
export function zonesPicture(rows) {
  const zones = byZone(rows, (row) => zoneOf(row.device));
  const step = (across - 20 * zones.length) / Math.max(1, rows.length);
  const parts = [];
  let x = 10;
  for (const [zone, disks] of zones) {
    parts.push(svg('text', { x: x + (step * disks.length) / 2, y: 138, class: 'axis', 'text-anchor': 'middle' }, zone));
    for (const { told: disk, device, host } of disks) {
      const share = disk?.size ? disk.used / disk.size : 0;
      const width = Math.max(0.5, Math.min(60, step * 0.8));
      const at = x + (step - width) / 2;
      parts.push(svg('g', {}, svg('title', {}, `${host.ip} ${device.device}: ${disk?.size ? `${Math.round(share * 100)} % full` : 'unknown'}`),
        svg('rect', { x: at, y: 10, width, height: 110, class: disk?.size ? 'track' : 'track away' }), svg('rect', { x: at, y: 120 - 110 * share, width, height: 110 * share, class: grade(share) })));
      x += step;
    }
    x += 20;
  }
  return picture(`Fill of ${rows.length} disks in ${zones.length} zones: ${zones.map(([zone, disks]) => `${zone} has ${disks.length}`).join(', ')}`, 145, parts);
}

// One column a disk: its partitions, and as a line what its weight makes due.
export function ringPicture(ring, title) {
  const zones = byZone(ring.devices);
  const most = Math.max(1, ...ring.devices.map((device) => Math.max(device.parts, device.wanted)));
  const step = (across - 20 * zones.length) / Math.max(1, ring.devices.length);
  const parts = [];
  let x = 10;
  for (const [zone, devices] of zones) {
    parts.push(svg('text', { x: x + (step * devices.length) / 2, y: 128, class: 'axis', 'text-anchor': 'middle' }, zone));
    for (const device of devices) {
      const width = Math.max(0.5, Math.min(60, step * 0.8));
      const at = x + (step - width) / 2;
      const height = (100 * device.parts) / most;
      const due = 110 - (100 * device.wanted) / most;
      parts.push(svg('g', {}, svg('title', {}, `${device.ip} ${device.device}: ${device.parts} partitions, ${device.wanted} due`),
        svg('rect', { x: at, y: 110 - height, width, height, class: Math.abs(device.off) > 5 ? 'fill warn' : 'fill' }), svg('line', { x1: at - width * 0.1, x2: at + width * 1.1, y1: due, y2: due, class: 'due' })));
      x += step;
    }
    x += 20;
  }
  return picture(`${title}: partitions of ${ring.devices.length} disks in ${zones.length} zones; the largest deviation from what is due is ${ring.balance} %`, 135, parts);
}

// Rates of requests, from what a proxy counts: differences between two looks.
export class Rates {
  constructor() {
    this.rows = [];
    this.samples = [];
    this.heard = false;
    this.nodes = new Map(); // address: {count, seconds, errors, milliseconds} of what this proxy asked it
  }

  take(text) {
    if (!text) return;
    this.heard = true;
    const now = Date.now() / 1000;
    const methods = new Map();
    for (const [, kind, labels, value] of text.matchAll(/^swift_request_duration_seconds_(count|sum)\{([^}]*)\} ([\d.e+-]+)$/gm)) {
      const method = /method="([^"]*)"/.exec(labels)?.[1] || '?';
      const row = methods.get(method) || { method, count: 0, sum: 0, errors: 0 };
      row[kind] += Number(value);
      if (kind === 'count' && /status="5/.test(labels)) row.errors += Number(value);
      methods.set(method, row);
    }
    const before = this.last;
    this.rows = [...methods.values()].sort((a, b) => b.count - a.count).map((row) => {
      const old = before?.methods.get(row.method) || { count: 0, sum: 0 };
      const count = row.count - old.count;
      const isNew = !before || count < 0;
      return { ...row, rate: isNew ? null : count / (now - before.now), milliseconds: !isNew && count ? (1000 * (row.sum - old.sum)) / count : row.count ? (1000 * row.sum) / row.count : null };
    });
    if (before) this.samples = [...this.samples, this.rows.reduce((all, row) => all + (row.rate || 0), 0)].slice(-60);
    this.nodes = this.waits(text, before?.nodes);
    this.last = { now, methods, nodes: this.nodes };
  }

  // How long this proxy waits for each node to begin its answer: since the last look, or since the proxy's start.
  waits(text, before) {
    const nodes = new Map();
    for (const [, kind, labels, value] of text.matchAll(/^swift_backend_(node_waits|node_wait_seconds|errors)(?:_total)?\{([^}]*)\} ([\d.e+-]+)$/gm)) {
      const ip = (/node="([^"]*)"/.exec(labels)?.[1] || '').replace(/:\d+$/, '');
      const node = nodes.get(ip) || { count: 0, seconds: 0, errors: 0, milliseconds: null };
      node[{ node_waits: 'count', node_wait_seconds: 'seconds', errors: 'errors' }[kind]] += Number(value);
      nodes.set(ip, node);
    }
    for (const [ip, node] of nodes) {
      const old = before?.get(ip);
      const isLater = old && node.count > old.count;
      if (node.count) node.milliseconds = (1000 * (node.seconds - (isLater ? old.seconds : 0))) / (node.count - (isLater ? old.count : 0));
      node.fresh = old ? Math.max(0, node.errors - old.errors) : 0;
    }
    return nodes;
  }

  picture() {
    if (this.samples.length < 2) return h('p', { class: 'quiet' }, 'Rates show from the second look on.');
    const most = Math.max(1, ...this.samples);
    const points = this.samples.map((rate, at) => `${10 + (at * (across - 20)) / (this.samples.length - 1)},${80 - (70 * rate) / most}`).join(' ');
    return picture(`Requests a second since this page was opened: now ${this.samples[this.samples.length - 1].toFixed(1)}, at most ${most.toFixed(1)}`, 100, svg('line', { x1: 0, x2: across, y1: 80, y2: 80, class: 'axis-line' }), svg('polyline', { points, class: 'curve' }), svg('text', { x: 10, y: 96, class: 'axis' }, `at most ${most.toFixed(1)} a second`));
  }
}
