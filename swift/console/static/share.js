// Links for people without an account: signed here, with a key that is the account's or the container's metadata (tempurl),
// or with a key of S3. Whoever has a link may read this one object until it ends.

import { h, show, button, field, told, say, date, confirmed } from './dom.js';
import { session, ask, address, head, fromHeader } from './api.js';
import { presigned, s3Keys } from './s3.js';
import { hex, hmac } from './sign.js';

const TIMES = [[3600, 'an hour'], [86400, 'a day'], [604800, 'a week'], [2592000, '30 days']];

async function key(container) {
  for (const [where, level] of [[container, 'Container'], ['', 'Account']]) {
    const { headers } = await head(where).catch((error) => {
      if ([403, 404].includes(error.status)) return { headers: new Headers() };
      throw error; // a key that was not seen is no key that is not there: a new one would end all links
    });
    const found = headers.get(`X-${level}-Meta-Temp-Url-Key`) || headers.get(`X-${level}-Meta-Temp-Url-Key-2`);
    if (found) return fromHeader(found);
  }
  return '';
}

async function makeKey(container) {
  const text = hex(crypto.getRandomValues(new Uint8Array(32)));
  await ask('POST', address(container), { headers: { 'X-Container-Meta-Temp-URL-Key': text, 'X-Container-Meta-Temp-URL-Key-2': '' } });
  return text;
}

export async function tempurl(container, name, seconds, secret) {
  const path = `/v1/${session.account}/${container}/${name}`;
  const expires = Math.floor(Date.now() / 1000) + seconds;
  const digests = session.info.tempurl?.allowed_digests || ['sha1'];
  const hash = digests.includes('sha256') ? 'SHA-256' : digests.includes('sha512') ? 'SHA-512' : 'SHA-1';
  const signature = hex(await hmac(secret, `GET\n${expires}\n${path}`, hash));
  return `${location.origin}${address(container, name, { temp_url_sig: signature, temp_url_expires: expires })}`;
}

export function sharing(container, name) {
  if (!crypto.subtle) return h('p', {}, 'Links are signed in the browser, which allows that with HTTPS (or on this machine) only.');
  const time = h('select', {}, TIMES.map(([seconds, text]) => h('option', { value: seconds }, text)));
  const result = h('div', {});
  const tell = (url, until) => {
    const line = h('input', { readonly: true, value: url, class: 'link' });
    show(result, field('Link', line, `Whoever has it may read this object until ${date(until)}, without signing in.`),
      h('div', { class: 'row' }, button('Copy', told(async () => { await navigator.clipboard.writeText(url); say('Copied the link.'); })), h('a', { href: url, target: '_blank', rel: 'noopener noreferrer' }, 'Open it')));
    line.focus();
    line.select();
  };
  const byTempurl = told(async () => {
    let secret = await key(container);
    if (!secret) {
      if (!await confirmed('Make a key for links?', [`Links are signed with a key that the container ${container} keeps. It has none yet. The key is made here, at random; only the account's owners can see it.`], { action: 'Make a key' })) return;
      secret = await makeKey(container);
    }
    tell(await tempurl(container, name, Number(time.value), secret), Date.now() / 1000 + Number(time.value));
  });
  const byS3 = told(async () => {
    const keys = await s3Keys();
    if (!keys) return;
    const seconds = Math.min(604800, Number(time.value));
    tell(await presigned(container, name, seconds, keys), Date.now() / 1000 + seconds);
  });
  const withdraw = told(async () => {
    if (!await confirmed('Withdraw all links?', [`All links into ${container} that were signed with the container's keys stop working at once. A new key is made.`, 'Links that were signed with a key of the account, or for S3, work until they end.'], { action: 'Withdraw' })) return;
    await makeKey(container);
    show(result);
    say('All links that were signed with keys of this container are withdrawn.');
  });
  return h('div', {},
    h('p', {}, 'A link lets people without an account read this one object, for a time.'),
    field('It works for', time),
    h('div', { class: 'row' },
      session.info.tempurl && button('Make a link', byTempurl, { class: 'main' }),
      session.info.s3api && session.account === session.home && button('Make an S3 link', byS3),
      session.info.tempurl && button('Withdraw all links', withdraw, { class: 'plain' })),
    result);
}
