// Two languages; which one is the only thing that the page keeps in the browser.
import { en } from './en.js';
import { makeStore } from './store.js';
import { zh } from './zh.js';

const WORDS = { en, zh };
const KEPT = 'ngpu-language';

function first() {
  const kept = read();
  if (kept in WORDS) return kept;
  const wished = navigator.languages.map((each) => each.slice(0, 2).toLowerCase());
  return wished.find((each) => each in WORDS) ?? 'en';
}

function read() {
  try {
    return localStorage.getItem(KEPT) ?? '';
  } catch {
    return ''; // a browser that keeps nothing
  }
}

export const language = makeStore(first());

export function choose(name) {
  try {
    localStorage.setItem(KEPT, name);
  } catch {
    // then it holds until the page is left
  }
  language.set(name);
}

export function t(key, values = {}) {
  return WORDS[language.get()][key].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '');
}

// Words that a reply may hold, which a newer gateway may have more of.
export function word(family, name) {
  return WORDS[language.get()][`${family}.${name}`] ?? name;
}

export const tag = () => (language.get() === 'zh' ? 'zh-CN' : 'en');
