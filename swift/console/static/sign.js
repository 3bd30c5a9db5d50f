// Signatures, made by the browser's own cryptography.

export const hex = (bytes) => Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, '0')).join('');

const bytesOf = (value) => (typeof value === 'string' ? new TextEncoder().encode(value) : value);

// hash: 'SHA-256' …; secret and text: text or bytes.
export async function hmac(secret, text, hash) {
  const key = await crypto.subtle.importKey('raw', bytesOf(secret), { name: 'HMAC', hash }, false, ['sign']);
  return crypto.subtle.sign('HMAC', key, bytesOf(text));
}

export const sha256 = async (text) => hex(await crypto.subtle.digest('SHA-256', bytesOf(text)));
