// The operator's view: what recon, the rings and this proxy's figures tell of the cluster, and what of it needs somebody's attention.

import { h, show, button, explained, told, size, number, many, ago, complain } from './dom.js';
import { session, ask } from './api.js';
import { Rates, fillBar, fit, ringPicture, zonesPicture } from './pictures.js';

const PAUSE = 15000;
const MOST_ROWS = 300;

export function operatorView(place) {
  const rates = new Rates();
  const when = h('span', { class: 'quiet' });
  const body = h('div', { class: 'stack' }, h('p', {}, 'Asking the nodes …'));
  const keep = h('input', { type: 'checkbox', checked: true });
  let stopped = false;
  let timer = 0;

  const refresh = async () => {
    clearTimeout(timer);
    try {
      const [rings, nodes, figures] = await Promise.all([
        ask('GET', 'operator/rings').then((answer) => answer.json()),
        ask('GET', 'operator/nodes').then((answer) => answer.json()),
        session.settings.metrics ? fetch(session.settings.metrics, { credentials: 'omit', cache: 'no-store' }).then((answer) => (answer.ok ? answer.text() : '')).catch(() => '') : '',
      ]);
      if (stopped) return;
      rates.take(figures);
      fit();
      const places = () => [...body.querySelectorAll('[tabindex], summary')];
      const at = places().indexOf(document.activeElement);
      const opened = new Set([...body.querySelectorAll('details[open]')].map((each) => each.dataset.name));
      show(body, ...sections(rings.rings, nodes, rates));
      for (const each of body.querySelectorAll('details')) each.open = opened.has(each.dataset.name);
      if (at >= 0) places()[at]?.focus({ preventScroll: true });
      when.textContent = `As of ${new Date(nodes.time * 1000).toLocaleTimeString('sv')}, asked in ${nodes.seconds} s`;
    } catch (error) {
      if (!stopped) complain(error);
    }
    if (!stopped && keep.checked) timer = setTimeout(refresh, PAUSE);
  };
  keep.addEventListener('change', () => { clearTimeout(timer); if (keep.checked) refresh(); });
  show(place,
    h('div', { class: 'heading' }, h('h1', { tabindex: '-1' }, 'Cluster'), when),
    explained('What is this?', 'The state of the whole cluster, as its nodes tell it (recon). It is shown to administrators of all accounts only, and changes nothing.',
      'A ring says which disks hold which part of the data. Replication brings copies to where they belong, auditors read all data and set aside what is broken (quarantine), updaters deliver what listings have yet to hear (async pending).'),
    h('div', { class: 'row' }, button('Refresh', told(refresh)), h('label', { class: 'inline' }, keep, ' Keep up to date')),
    body);
  refresh();
  return () => { stopped = true; clearTimeout(timer); };
}

function sections(rings, nodes, rates) {
  const hosts = nodes.hosts;
  return [
    section('What needs attention', attention(nodes.findings)),
    tiles(hosts),
    section('Requests to this proxy', requests(rates)),
    section('Zones and disks', disks(hosts)),
    section('Nodes', nodesTable(hosts, rates.nodes, nodes.hosts_left_out)),
    section('Replication and audit', work(hosts)),
    section('Rings', h('p', { class: 'quiet' }, 'Each column is a disk: how many partitions it holds. The line is what its weight makes due.'), h('div', { class: 'rings' }, rings.map(ring))),
  ];
}

const section = (title, ...content) => h('section', { class: 'panel' }, h('h2', {}, title), content);

function table(caption, columns, rows, left = 0) {
  return [h('div', { class: 'wide-table', role: 'region', 'aria-label': caption, tabindex: '0' },
    h('table', {}, h('caption', { class: 'unseen' }, caption), h('thead', {}, h('tr', {}, columns.map((name) => h('th', { scope: 'col' }, name)))),
      h('tbody', {}, rows.slice(0, MOST_ROWS).map((cells) => h('tr', {}, cells.map((cell, at) => (at ? h('td', {}, cell) : h('th', { scope: 'row' }, cell)))))))),
  (rows.length > MOST_ROWS || left > 0) && h('p', { class: 'quiet' }, `${number(Math.max(0, rows.length - MOST_ROWS) + left)} more are not shown.`)];
}

// -- parts

const LEVELS = { danger: 'Danger', wrong: 'Fault', note: 'Look' }; // as the servers judge

function attention(found) {
  if (!found.length) return h('p', { class: 'good' }, '✓ Nothing. All nodes answer, and nothing of what they tell is out of the ordinary.');
  return h('ul', { class: 'lines findings' }, found.slice(0, 50).map(({ level, text, do: advice, command }) => h('li', {}, h('strong', { class: level === 'note' ? 'warn' : 'bad' }, LEVELS[level] || level), h('span', { class: 'grow' }, text, advice && h('small', {}, ` ${advice}`), command && h('code', {}, command)))),
    found.length > 50 && h('li', {}, `and ${many(found.length - 50, 'more')}`));
}

const sum = (values) => values.reduce((all, value) => all + (Number(value) || 0), 0);
export const usage = (host) => (Array.isArray(host.checks.diskusage) ? host.checks.diskusage : []);

function tiles(hosts) {
  const answering = hosts.filter((host) => host.servers.some((server) => !server.error));
  const all = hosts.flatMap(usage);
  const used = sum(all.map((disk) => disk.used));
  const whole = sum(all.map((disk) => disk.size));
  const quarantined = sum(hosts.flatMap((host) => ['objects', 'containers', 'accounts'].map((kind) => host.checks.quarantined?.[kind])));
  const oldest = Math.min(...answering.map((host) => host.checks['replication/object']?.replication_last || 0));
  const behind = sum(hosts.flatMap(standing).map((each) => each.behind));
  const tile = (name, value, note) => h('div', { class: 'tile' }, h('dt', {}, name), h('dd', {}, value, note && h('small', {}, note)));
  return h('dl', { class: 'tiles' },
    tile('Nodes that answer', `${answering.length} of ${hosts.length}`),
    tile('Disks', number(all.length), whole ? `${size(used)} of ${size(whole)} used` : ''),
    tile('Oldest object replication pass', Number.isFinite(oldest) ? ago(oldest) : 'never'),
    tile('Partitions that lack copies', number(behind)),
    tile('Updates that wait', number(sum(hosts.map((host) => host.checks.async?.async_pending))), 'for listings (async pending)'),
    tile('In quarantine', number(quarantined), 'set aside as broken'));
}

// Each disk's and policy's figures of replication and reconstruction.
export function standing(host) {
  const found = host.checks['standing/object'] || {};
  return ['object_replication_standing', 'object_reconstruction_standing'].flatMap((name) => Object.values(found[name] || {})).flatMap((policies) => Object.values(policies || {}));
}

function requests(rates) {
  if (!session.settings.metrics) return h('p', { class: 'quiet' }, 'This proxy serves no metrics: set metrics_path in its configuration.');
  if (!rates.rows.length) return h('p', { class: 'quiet' }, rates.heard ? 'No requests yet.' : 'The metrics cannot be read from here.');
  return [rates.picture(), table('Requests by method', ['Method', 'Requests a second', 'Mean time', 'Errors (5xx)', 'Since the start'], rates.rows.map((row) => [row.method, row.rate === null ? '…' : row.rate.toFixed(1), row.milliseconds === null ? '–' : `${row.milliseconds.toFixed(1)} ms`, number(row.errors), number(row.count)]))];
}

function disks(hosts) {
  const rows = hosts.flatMap((host) => host.devices.map((device) => ({ host, device, told: usage(host).find((disk) => disk.device === device.device) })));
  const share = ({ told: disk }) => (disk?.size ? disk.used / disk.size : -1);
  rows.sort((a, b) => share(b) - share(a));
  const state = ({ host, device, told: disk }) => {
    if (!host.servers.some((server) => !server.error)) return h('strong', { class: 'bad' }, 'node does not answer');
    if (!disk) return h('strong', { class: 'bad' }, 'not there');
    if (disk.mounted === true) return 'mounted';
    if (disk.size) return 'a folder';
    return h('strong', { class: 'bad' }, disk.mounted === false ? 'not mounted' : String(disk.mounted));
  };
  return [zonesPicture(rows), table('Disks, the fullest first', ['Disk', 'Node', 'Region, zone', 'Fill', 'Free', 'Weight', 'State'], rows.map((row) => [row.device.device, row.host.ip, `r${row.device.region} z${row.device.zone}`, row.told?.size ? fillBar(share(row)) : '–', row.told ? size(row.told.avail) : '–', row.device.weight, state(row)]))];
}

function nodesTable(hosts, waits, left) {
  return table('Nodes', ['Node', 'Servers and how fast they answered', 'Requests: mean wait', 'Errors', 'Version', 'Load', 'Memory free', 'Clock'], hosts.map((host) => {
    const memory = host.checks.mem || {};
    const free = parseInt(memory.MemAvailable, 10) / parseInt(memory.MemTotal, 10);
    return [host.ip,
      host.servers.map((server) => h('span', { class: server.error ? 'bad tag' : 'tag' }, `${server.kind} ${server.error || `${server.milliseconds} ms`}`)),
      waits.get(host.ip)?.milliseconds == null ? '–' : `${waits.get(host.ip).milliseconds.toFixed(1)} ms`,
      waits.has(host.ip) ? number(waits.get(host.ip).errors) : '–',
      [...new Set(host.servers.map((server) => server.version).filter(Boolean))].join(', ') || '–',
      host.checks.load?.['1m'] ?? '–', Number.isFinite(free) ? `${Math.round(free * 100)} %` : '–', clock(host)];
  }), left);
}

const clock = (host) => (typeof host.checks.time === 'number' && typeof host.offset === 'number' ? `${host.offset >= 0 ? '+' : ''}${host.offset.toFixed(1)} s` : '–');

function work(hosts) {
  const pass = (host, kind) => {
    const told = host.checks[`replication/${kind}`];
    if (!told?.replication_last) return '–';
    const failures = told.replication_stats?.failure || 0;
    return [ago(told.replication_last), failures ? h('strong', { class: 'bad' }, `, ${many(failures, 'failure')}`) : ''];
  };
  const progress = (host) => {
    const all = standing(host);
    const total = sum(all.map((each) => each.total));
    const remaining = Math.max(0, ...all.map((each) => each.remaining || 0));
    if (!total) return '–';
    const done = sum(all.map((each) => each.done));
    return [h('progress', { max: total, value: done, 'aria-label': `Pass of ${host.ip}` }), ` ${Math.round((100 * done) / total)} %`, remaining ? `, ${Math.ceil(remaining / 60)} min to go` : ''];
  };
  const audit = (host, kind) => {
    if (kind === 'object') {
      const told = host.checks['auditor/object']?.object_auditor_stats_ALL;
      if (!told) return '–';
      const bad = (told.errors || 0) + (told.quarantined || 0);
      return [`${number(told.passes || 0)} read since ${ago(told.start_time)}`, bad ? h('strong', { class: 'bad' }, `, ${number(bad)} broken`) : ''];
    }
    const told = host.checks[`auditor/${kind}`];
    if (!told || told[`${kind}_audits_since`] == null) return '–';
    const bad = told[`${kind}_audits_failed`] || 0;
    return [`${number(told[`${kind}_audits_passed`])} passed`, bad ? h('strong', { class: 'bad' }, `, ${number(bad)} failed`) : ''];
  };
  return table('Replication and audit of each node', ['Node', 'Objects replicated', 'This pass', 'Behind', 'Handoffs', 'Containers replicated', 'Accounts replicated', 'Objects audited', 'Containers audited', 'Accounts audited'],
    hosts.map((host) => [host.ip, pass(host, 'object'), progress(host), number(sum(standing(host).map((each) => each.behind))), number(sum(standing(host).map((each) => each.handoffs))), pass(host, 'container'), pass(host, 'account'), audit(host, 'object'), audit(host, 'container'), audit(host, 'account')]));
}

function ring(each) {
  const title = each.kind === 'object' ? `Objects, policy ${each.policy}` : each.kind === 'account' ? 'Accounts' : 'Containers';
  if (each.missing) return h('p', {}, h('strong', { class: 'bad' }, `${title}: the ring ${each.name} is not there, or cannot be read.`));
  return h('div', { class: 'ring' },
    h('h3', {}, title),
    h('p', { class: 'quiet' }, [`${number(each.partitions)} partitions`, `${each.replicas} ${each.type === 'erasure_coding' ? 'fragments' : 'copies'} of each`, many(each.devices.length + each.devices_left_out, 'disk'), `balance ${each.balance} %`, each.version !== null && `version ${each.version}`].filter(Boolean).join(' · ')),
    ringPicture(each, title),
    h('details', { 'data-name': each.name }, h('summary', {}, 'As a table'), table(`${title}: partitions of each disk`, ['Disk', 'Node', 'Region, zone', 'Weight', 'Partitions', 'Due by weight', 'Off by'], each.devices.map((device) => [device.device, `${device.ip}:${device.port}`, `r${device.region} z${device.zone}`, device.weight, number(device.parts), number(device.wanted), `${device.off} %`]), each.devices_left_out)));
}
