// Where one is, in the address's fragment: it goes to no server, and the browser's Back works. Never a token in it.

export function written(place) {
  if (place.view) return `#/${place.view}`;
  const words = [place.account, place.container, place.prefix].map((word) => encodeURIComponent(word || ''));
  return `#/a/${words.join('/')}`;
}

export function read(fragment) {
  const [kind, ...words] = fragment.replace(/^#\/?/, '').split('/');
  if (kind !== 'a') return kind ? { view: kind } : {};
  try {
    const [account, container, prefix] = words.map(decodeURIComponent);
    return { account, container, prefix };
  } catch {
    return {};
  }
}

let account = () => '';
export function accountIs(told) {
  account = told;
}

export function go(place) {
  location.hash = written(place.view ? place : { account: account(), ...place });
}
