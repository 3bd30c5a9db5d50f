// Downloads: with the token in a header, into memory or straight into a file. Nothing that is downloaded is shown or run from here.

import { say, complain, size } from './dom.js';
import { ask, address } from './api.js';

const IN_MEMORY = 256 * 1024 * 1024;

export async function download(container, name, bytes, query) {
  const file = name.replace(/\/$/, '').split('/').pop() || 'object';
  if (bytes > IN_MEMORY && window.showSaveFilePicker) {
    const target = await window.showSaveFilePicker({ suggestedName: file });
    const response = await ask('GET', address(container, name, query));
    await response.body.pipeTo(await target.createWritable());
    say(`Downloaded ${name}.`);
    return;
  }
  if (bytes > IN_MEMORY) {
    complain({ sentence: `This browser would need ${size(bytes)} of memory to download this. Make a link under “Share” and open it instead.` });
    return;
  }
  const response = await ask('GET', address(container, name, query));
  const blob = new Blob([await response.blob()], { type: 'application/octet-stream' });
  const url = URL.createObjectURL(blob);
  const link = document.createElement('a');
  link.href = url;
  link.download = file;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}
