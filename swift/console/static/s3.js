// What only the S3 API has: a bucket's policy, and presigned URLs. Signed here (version 4) with keys that are asked for when they are needed
// and kept in memory until one signs out.

import { h, dialog, field, told } from './dom.js';
import { session, Failure, Unreachable } from './api.js';
import { hex, hmac, sha256 } from './sign.js';

export function s3Keys() {
  if (session.s3) return Promise.resolve(session.s3);
  return new Promise((resolve) => {
    let given = null;
    const access = h('input', { required: true, autocomplete: 'off', spellcheck: 'false', value: session.user.includes('(') ? '' : session.user });
    const secret = h('input', { required: true, type: 'password', autocomplete: 'off' });
    const made = dialog('Keys for S3', h('form', { on: { submit: told(async () => {
      given = session.s3 = { access: access.value, secret: secret.value };
      made.close();
    }) } },
    h('p', {}, 'This goes over the S3 API, whose requests are signed with keys of their own. They stay in this page’s memory until you sign out.'),
    field('Access key', access, 'With tempauth ACCOUNT:USER, with Keystone that of EC2 credentials.'),
    field('Secret key', secret, 'With tempauth the user’s key.'),
    h('div', { class: 'row' }, h('button', { type: 'submit', class: 'main' }, 'Go on'))), { onclose: () => resolve(given) });
  });
}

const strict = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

async function signed(method, path, query, headers, payload, { access, secret }, stamp) {
  const region = session.info.s3api?.location || 'us-east-1';
  const day = stamp.slice(0, 8);
  const scope = `${day}/${region}/s3/aws4_request`;
  if (query['X-Amz-Algorithm']) query['X-Amz-Credential'] = `${access}/${scope}`;
  const names = Object.keys(headers).sort();
  const words = Object.keys(query).sort().map((name) => `${strict(name)}=${strict(query[name])}`).join('&');
  const request = [method, path, words, ...names.map((name) => `${name}:${headers[name]}`), '', names.join(';'), payload].join('\n');
  let key = `AWS4${secret}`;
  for (const part of [day, region, 's3', 'aws4_request']) key = await hmac(key, part, 'SHA-256');
  const signature = hex(await hmac(key, `AWS4-HMAC-SHA256\n${stamp}\n${scope}\n${await sha256(request)}`, 'SHA-256'));
  return { words, signature, names, scope };
}

const now = () => new Date().toISOString().replace(/[-:]|\.\d+/g, '');

export async function presigned(bucket, key, seconds, keys) {
  if (key.split('/').some((word) => word === '.' || word === '..')) throw new Unreachable(key);
  const stamp = now();
  const path = `/${strict(bucket)}/${key.split('/').map(strict).join('/')}`;
  const query = { 'X-Amz-Algorithm': 'AWS4-HMAC-SHA256', 'X-Amz-Credential': '', 'X-Amz-Date': stamp, 'X-Amz-Expires': String(seconds), 'X-Amz-SignedHeaders': 'host' };
  const { words, signature } = await signed('GET', path, query, { host: location.host }, 'UNSIGNED-PAYLOAD', keys, stamp);
  return `${location.origin}${path}?${words}&X-Amz-Signature=${signature}`;
}

async function call(method, bucket, query, body, keys) {
  const stamp = now();
  const path = `/${strict(bucket)}`;
  const payload = await sha256(body);
  const headers = { host: location.host, 'x-amz-content-sha256': payload, 'x-amz-date': stamp };
  const { words, signature, names, scope } = await signed(method, path, query, headers, payload, keys, stamp);
  const authorization = `AWS4-HMAC-SHA256 Credential=${keys.access}/${scope}, SignedHeaders=${names.join(';')}, Signature=${signature}`;
  delete headers.host;
  const response = await fetch(`${path}?${words}`, { method, headers: { ...headers, Authorization: authorization }, body: body || undefined, cache: 'no-store', credentials: 'omit', redirect: 'error' });
  const text = await response.text();
  if (response.ok) return text;
  const code = /<Code>([^<]*)<\/Code>/.exec(text)?.[1] || '';
  const message = /<Message>([^<]*)<\/Message>/.exec(text)?.[1] || '';
  if (['InvalidAccessKeyId', 'SignatureDoesNotMatch'].includes(code)) session.s3 = undefined;
  throw Object.assign(new Failure(response.status, `${message || `S3 answered ${response.status}.`} ${code && `(${code})`}`), { code });
}

export async function readPolicy(bucket, keys) {
  try {
    return JSON.stringify(JSON.parse(await call('GET', bucket, { policy: '' }, '', keys)), null, 2);
  } catch (error) {
    if (error.code === 'NoSuchBucketPolicy') return '';
    throw error;
  }
}

export const writePolicy = (bucket, text, keys) => call(text.trim() ? 'PUT' : 'DELETE', bucket, { policy: '' }, text.trim(), keys);
