// MD5 of a blob: what ETags of objects are, so that segments which are there already can be compared. RFC 1321.

const SHIFTS = [7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21];
const SINES = Int32Array.from({ length: 64 }, (_, at) => Math.floor(Math.abs(Math.sin(at + 1)) * 2 ** 32) | 0);
const STEP = 1 << 20;

function block(state, words, offset) {
  let a = state[0];
  let b = state[1];
  let c = state[2];
  let d = state[3];
  for (let at = 0; at < 64; at += 1) {
    let mixed;
    let word;
    if (at < 16) { mixed = (b & c) | (~b & d); word = at; }
    else if (at < 32) { mixed = (d & b) | (~d & c); word = (5 * at + 1) & 15; }
    else if (at < 48) { mixed = b ^ c ^ d; word = (3 * at + 5) & 15; }
    else { mixed = c ^ (b | ~d); word = (7 * at) & 15; }
    const sum = (a + mixed + SINES[at] + words[offset + word]) | 0;
    const shift = SHIFTS[((at >> 4) << 2) | (at & 3)];
    a = d;
    d = c;
    c = b;
    b = (b + ((sum << shift) | (sum >>> (32 - shift)))) | 0;
  }
  state[0] = (state[0] + a) | 0;
  state[1] = (state[1] + b) | 0;
  state[2] = (state[2] + c) | 0;
  state[3] = (state[3] + d) | 0;
}

function blocks(state, bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const words = new Int32Array(bytes.byteLength >> 2);
  for (let at = 0; at < words.length; at += 1) words[at] = view.getInt32(at * 4, true);
  for (let offset = 0; offset < words.length; offset += 16) block(state, words, offset);
}

// Hex digits. Read in pieces, so that the page stays alive.
export async function md5(blob) {
  const state = Int32Array.of(0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476);
  const whole = blob.size - (blob.size % 64);
  for (let from = 0; from < whole; from += STEP) blocks(state, new Uint8Array(await blob.slice(from, Math.min(from + STEP, whole)).arrayBuffer()));
  const rest = new Uint8Array(await blob.slice(whole).arrayBuffer());
  const end = new Uint8Array(rest.length < 56 ? 64 : 128);
  end.set(rest);
  end[rest.length] = 0x80;
  const view = new DataView(end.buffer);
  view.setUint32(end.length - 8, (blob.size % 2 ** 29) * 8, true);
  view.setUint32(end.length - 4, Math.floor(blob.size / 2 ** 29), true);
  blocks(state, end);
  const digest = new DataView(new ArrayBuffer(16));
  state.forEach((word, at) => digest.setInt32(at * 4, word, true));
  return Array.from(new Uint8Array(digest.buffer), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
