// Elements, made of names and texts only: nothing that comes from a server is ever read as markup.

export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

export function svg(tag, props, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', tag), props, children);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === 'on') for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
    else if (name === 'value' || name === 'checked' || name === 'disabled' || name === 'hidden') element[name] = value;
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function show(place, ...children) {
  place.replaceChildren(...children.flat(9).filter(Boolean));
}

export function button(text, act, props = {}) {
  return h('button', { type: 'button', ...props, on: { click: act } }, text);
}

let last = 0;
export function id(stem) {
  last += 1;
  return `${stem}-${last}`;
}

// A labelled field; `help` explains it and is read out with it.
export function field(label, input, help) {
  input.id = input.id || id('field');
  const told = help && h('small', { id: id('help') }, help);
  if (told) input.setAttribute('aria-describedby', told.id);
  const box = input.type === 'checkbox';
  const name = h('label', { for: input.id }, label);
  return h('div', { class: box ? 'field check' : 'field' }, box ? [input, name] : [name, input], told);
}

export function explained(question, ...answer) {
  return h('details', { class: 'explained' }, h('summary', {}, question), answer.map((text) => h('p', {}, text)));
}

// -- what is said

const said = document.getElementById('said');
const failed = document.getElementById('failed');
let clearing = 0;

export function say(text, action) {
  show(said, h('p', {}, text, action));
  clearTimeout(clearing);
  clearing = setTimeout(() => show(said), 9000);
}

export function complain(error) {
  if (error?.name === 'AbortError') return;
  const text = error?.sentence || (error instanceof TypeError ? 'The server cannot be reached. Check the connection and try again.' : String(error?.message || error));
  if (!error?.sentence && !(error instanceof TypeError)) console.error(error);
  show(failed, h('p', {}, text, button('Dismiss', () => show(failed), { class: 'plain' })));
}

export function hush() {
  show(failed);
}

// An event handler whose failures are told, and whose button waits meanwhile.
export function told(act) {
  return async (event) => {
    event?.preventDefault?.();
    hush();
    const pressed = event?.currentTarget;
    const submit = pressed?.tagName === 'FORM' ? pressed.querySelector('[type=submit]') : pressed;
    if (submit?.tagName === 'BUTTON') submit.disabled = true;
    try {
      return await act(event);
    } catch (error) {
      complain(error);
      return undefined;
    } finally {
      if (submit?.tagName === 'BUTTON') {
        submit.disabled = false;
        // A button that is out of reach loses the focus, and whoever uses the keyboard their place.
        if (submit.isConnected && (document.activeElement || document.body) === document.body) submit.focus();
      }
    }
  };
}

// What is said is said within the topmost dialog: all else is out of reach then, for screen readers, too.
function spoken() {
  const open = [...document.querySelectorAll('dialog[open]')].pop() || document.body;
  open.append(said, failed);
}

// -- dialogs

export function dialog(title, content, { wide = false, onclose } = {}) {
  const name = h('h2', { id: id('dialog') }, title);
  const box = h('dialog', { 'aria-labelledby': name.id, class: wide ? 'wide' : '' });
  const close = () => box.close();
  box.append(h('div', { class: 'dialog-head' }, name, button('Close', close, { class: 'plain' })), h('div', { class: 'dialog-body' }, content));
  box.addEventListener('close', () => { spoken(); box.remove(); onclose?.(); });
  document.body.append(box);
  box.showModal();
  spoken();
  return { box, close };
}

// Resolves to true if the person agrees. `word`: has to be typed first. `more`: further fields.
export function confirmed(title, texts, { action = 'Delete', word = '', more = null } = {}) {
  return new Promise((resolve) => {
    let agreed = false;
    const typed = h('input', { autocomplete: 'off', spellcheck: 'false' });
    const go = h('button', { type: 'submit', class: 'danger', disabled: Boolean(word) }, action);
    typed.addEventListener('input', () => { go.disabled = typed.value !== word; });
    const form = h('form', { method: 'dialog', on: { submit: (event) => { event.preventDefault(); agreed = !go.disabled; if (agreed) made.close(); } } },
      texts.map((text) => h('p', {}, text)),
      more,
      word && field(`Type “${word}” to go on`, typed),
      h('div', { class: 'row' }, go, button('Keep', () => made.close(), { autofocus: !word })));
    const made = dialog(title, form, { onclose: () => resolve(agreed) });
  });
}

// -- figures

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'];
export function size(bytes) {
  if (bytes === undefined || bytes === null || bytes === '' || Number.isNaN(Number(bytes))) return '';
  let value = Number(bytes);
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) { value /= 1000; unit += 1; }
  return `${unit && value < 99.95 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`;
}

export const number = (value) => Number(value).toLocaleString('en');
export const many = (count, one, more = `${one}s`) => `${number(count)} ${Number(count) === 1 ? one : more}`;

export function date(value) {
  const at = value instanceof Date ? value : new Date(typeof value === 'number' ? value * 1000 : /Z|GMT|[+]/.test(value) ? value : `${value}Z`);
  if (Number.isNaN(at.getTime())) return '';
  return at.toLocaleString('sv').slice(0, 16);
}

export function ago(seconds) {
  const past = Date.now() / 1000 - seconds;
  if (!seconds || past < 0) return seconds ? 'just now' : 'never';
  if (past < 90) return `${Math.round(past)} s ago`;
  if (past < 5400) return `${Math.round(past / 60)} min ago`;
  if (past < 129600) return `${Math.round(past / 3600)} h ago`;
  return `${Math.round(past / 86400)} days ago`;
}
