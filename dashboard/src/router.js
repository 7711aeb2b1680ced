// The page's address: #/view/id?name=value, so that every view can be linked to and the back button works.
import { makeStore } from './store.js';

function parse() {
  const [path, search = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const [view = '', id = ''] = path.split('/');
  return { view: view || 'fleet', id: decode(id), query: Object.fromEntries(new URLSearchParams(search)) };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export const route = makeStore({ ...parse(), opened: false });
addEventListener('hashchange', () => {
  // whether it is a new entry of the history: the browser scrolls to where one was that is gone back to
  const opened = history.state === null;
  seen();
  route.set({ ...parse(), opened });
});
const seen = () => history.replaceState('seen', '');
seen();

export function address(view, id = '', query = {}) {
  const given = Object.entries(query).filter(([, value]) => value);
  return `#/${view}${id ? `/${encodeURIComponent(id)}` : ''}${given.length ? `?${new URLSearchParams(given)}` : ''}`;
}

export function go(view, id, query) {
  location.hash = address(view, id, query);
}
