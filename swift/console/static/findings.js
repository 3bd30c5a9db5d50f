// What needs attention, found in what the nodes tell: one sentence each, the worst first. Pure: no page, no requests.

const FULL = 0.9;
const FULLEST = 0.95;
const CLOCKS = 1; // seconds apart
const DAY = 86400;
const WAITING = 10000; // updates
const OFF = 5; // per cent of balance

// waits: address → what this proxy waited for it ({milliseconds, fresh: errors since the last look}), where it tells.
export function findings(rings, nodes, waits = new Map()) {
  const found = [];
  const bad = (text, advice = '') => found.push({ grade: 'bad', text, advice });
  const look = (text, advice = '') => found.push({ grade: 'warn', text, advice });
  const answers = nodes.hosts.flatMap((host) => host.servers.filter((server) => !server.error).map((server) => server.milliseconds)).sort((a, b) => a - b);
  const median = answers[answers.length >> 1] || 0;
  const means = [...waits.values()].map((node) => node.milliseconds).filter((each) => each !== null).sort((a, b) => a - b);
  const usual = means[(means.length - 1) >> 1] || 0;
  for (const [ip, { milliseconds, fresh }] of waits) {
    if (milliseconds > Math.max(50, 4 * usual)) look(`${ip} is slow: this proxy waits ${milliseconds.toFixed(0)} ms for an answer to a request, while ${usual.toFixed(0)} ms are usual.`, 'A failing disk does that, or a busy one.');
    if (fresh) look(`${ip} failed ${fresh} requests of this proxy since the last look.`);
  }
  const versions = new Set();
  for (const host of nodes.hosts) {
    const { checks } = host;
    const living = host.servers.filter((server) => !server.error);
    if (!living.length) {
      bad(`Node ${host.ip} does not answer (${host.servers[0]?.error || 'no server'}).`, 'Is it up, and reachable from this proxy?');
      continue;
    }
    for (const server of host.servers) {
      if (server.error) bad(`The ${server.kind} server of ${host.ip} (port ${server.port}) does not answer: ${server.error}.`);
      else if (server.milliseconds > Math.max(100, 10 * median)) look(`The ${server.kind} server of ${host.ip} is slow: ${server.milliseconds} ms, while ${median} ms are usual.`);
      if (server.version) versions.add(server.version);
    }
    disks(host, bad, look);
    rest(host, rings, nodes, bad, look);
    if (typeof checks.time === 'number') {
      host.offset = checks.time - nodes.time;
      const slack = nodes.seconds + CLOCKS;
      if (Math.abs(host.offset) > slack) bad(`The clock of ${host.ip} is off by ${host.offset.toFixed(1)} s.`, 'Timestamps decide what is newest: look after NTP.');
    }
  }
  if (versions.size > 1) look(`The nodes run different versions: ${[...versions].sort().join(', ')}.`, 'Fine during an upgrade.');
  if (nodes.hosts_left_out) look(`${nodes.hosts_left_out} nodes were not asked: the cluster is larger than this view.`);
  for (const ring of rings) {
    if (ring.missing) bad(`The ring ${ring.name} is not there, or cannot be read.`);
    else if (ring.balance > OFF && ring.devices.length > 1) look(`The ring ${ring.name} is out of balance: a disk holds ${ring.balance} % more or less than its weight says.`, 'Rebalance it, if that is not on its way; zones of unequal size do it, too.');
  }
  return [...found.filter((each) => each.grade === 'bad'), ...found.filter((each) => each.grade !== 'bad')];
}

function disks(host, bad, look) {
  const told = Array.isArray(host.checks.diskusage) ? host.checks.diskusage : null;
  if (!told) {
    look(`${host.ip} does not tell how full its disks are: ${host.checks.diskusage?.error || 'no answer'}.`);
    return;
  }
  for (const device of host.devices) {
    const disk = told.find((each) => each.device === device.device);
    if (!disk) bad(`The disk ${device.device} of ${host.ip} is in a ring and not there.`);
    else if (!disk.size) bad(`The disk ${device.device} of ${host.ip} is not mounted.`, 'What it should hold is on other disks meanwhile, as far as there was time.');
    else if (disk.used / disk.size > FULLEST) bad(`The disk ${device.device} of ${host.ip} is ${Math.round((100 * disk.used) / disk.size)} % full.`, 'Add disks, or lower its weight.');
    else if (disk.used / disk.size > FULL) look(`The disk ${device.device} of ${host.ip} is ${Math.round((100 * disk.used) / disk.size)} % full.`);
  }
}

function rest(host, rings, nodes, bad, look) {
  const { checks, ip } = host;
  const conf = Object.values(checks.swiftconfmd5 || {})[0];
  if (conf && nodes.swift_conf_md5 && /^[0-9a-f]{32}$/.test(conf) && conf !== nodes.swift_conf_md5) look(`swift.conf of ${ip} is not that of this proxy.`, 'Its hash settings and policies must be the same everywhere.');
  for (const [path, digest] of Object.entries(checks.ringmd5 || {})) {
    const ring = rings.find((each) => path.endsWith(`/${each.name}.ring.gz`));
    if (ring && ring.md5 && ring.md5 !== digest) bad(`${ip} has another ${ring.name} ring than this proxy.`, 'Bring the newest ring file to all nodes.');
  }
  for (const kind of ['object', 'container', 'account']) {
    const pass = checks[`replication/${kind}`];
    if (!pass || pass.error) continue;
    if (pass.replication_stats?.failure) bad(`Replication of ${kind}s on ${ip}: ${pass.replication_stats.failure} failures in the last pass.`, Object.keys(pass.replication_stats.failure_nodes || {}).length ? `With ${Object.keys(pass.replication_stats.failure_nodes).slice(0, 5).join(', ')}.` : 'Its log names them.');
    if (pass.replication_last && nodes.time - pass.replication_last > DAY) look(`The last pass of ${kind} replication on ${ip} ended ${Math.round((nodes.time - pass.replication_last) / 3600)} h ago.`, 'Does its daemon run?');
  }
  if (checks.async?.async_pending > WAITING) look(`${checks.async.async_pending} updates for listings wait on ${ip}.`, 'Does the object-updater run, and do the container servers keep up?');
  const set = checks.quarantined || {};
  const broken = (set.objects || 0) + (set.containers || 0) + (set.accounts || 0);
  if (broken) look(`${broken} broken files are in quarantine on ${ip}.`, 'They were replaced from other copies; many of one disk speak against it.');
  if (checks.driveaudit?.drive_audit_errors) bad(`${checks.driveaudit.drive_audit_errors} errors of disks in the kernel’s log of ${ip}.`);
}
