// The frame around the views: who is logged in, where one is, whether the gateway is there.
import { useEffect, useLayoutEffect } from 'preact/hooks';
import { look, logout, session } from './api.js';
import { Notices, Question, act } from './asking.js';
import { Create } from './create.js';
import { Events } from './events.js';
import { Fleet } from './fleet.js';
import { what } from './format.js';
import { html } from './html.js';
import { choose, language, t, tag } from './i18n.js';
import { live, startLive, stopLive } from './live.js';
import { Login } from './login.js';
import { Act, Waiting } from './parts.js';
import { address, route } from './router.js';
import { makeStore, useStore } from './store.js';
import { Task } from './task.js';
import { Tasks } from './tasks.js';
import { Workspace } from './workspace.js';
import { Workspaces } from './workspaces.js';

// Without a prototype: what an address calls a view may be the name of something else that all objects have.
const VIEWS = { __proto__: null, fleet: Fleet, workspaces: Workspaces, tasks: Tasks, events: Events };
const ONE = { __proto__: null, workspaces: Workspace, tasks: Task };
const AGAIN = 3000;
const LONGEST_TIMER = 2 ** 31 - 1;

const trouble = makeStore(''); // before it is known who is logged in

async function begin() {
  try {
    await look();
    trouble.set('');
  } catch (error) {
    trouble.set(what(error));
    setTimeout(begin, AGAIN);
  }
}
begin();

export function App() {
  const spoken = useStore(language);
  const open = useStore(session);
  useEffect(() => {
    document.documentElement.lang = tag();
  }, [spoken]);
  useEffect(() => {
    if (!open) return undefined;
    startLive();
    const left = Math.max(0, open.ends * 1000 - Date.now());
    const timer = setTimeout(() => look().catch(() => {}), Math.min(left + 1000, LONGEST_TIMER));
    return () => {
      clearTimeout(timer);
      stopLive();
    };
  }, [open]);
  return html`<${Frame} open=${open} />`;
}

function Frame({ open }) {
  const wrong = useStore(trouble);
  const body =
    open === undefined ? html`<main id="main">${wrong ? html`<p class="banner" role="alert">${wrong}</p>` : html`<${Waiting} />`}</main>`
    : open === null ? html`<${Login} />`
    : html`<${View} />`;
  return html`
    <a class="skip" href="#main" onClick=${skip}>${t('skip')}</a>
    <header class="top">
      <p class="brand">ngpu</p>
      ${open && html`<${Menu} />`}
      <div class="tools">
        <${Language} />
        ${open && html`<${Act} does=${() => act(logout, t('logged_out'))}>${t('log_out')}<//>`}
      </div>
    </header>
    ${open && html`<${Connection} />`}
    ${body}
    <${Notices} />
    <${Question} />
  `;
}

function View() {
  const { view, id, query, opened } = useStore(route);
  useLayoutEffect(() => {
    if (opened) scrollTo(0, 0); // a view begins at its top
  }, [view, id]);
  if (view === 'workspaces' && id === 'new') return html`<main id="main"><${Create} /></main>`;
  const Shown = (id && ONE[view]) || VIEWS[view] || Fleet;
  return html`<main id="main"><${Shown} key=${`${view}/${id}`} id=${id} query=${query} /></main>`;
}

function Menu() {
  const { view } = useStore(route);
  return html`<nav aria-label=${t('menu')}>
    <ul>
      ${Object.keys(VIEWS).map(
        (name) => html`<li><a href=${address(name)} aria-current=${view === name ? 'page' : undefined}>${t(`menu.${name}`)}</a></li>`,
      )}
    </ul>
  </nav>`;
}

function Language() {
  const other = language.get() === 'en' ? 'zh' : 'en';
  const name = { en: 'English', zh: '中文' }[other];
  return html`<button type="button" lang=${other} onClick=${() => choose(other)}>${name}</button>`;
}

function Connection() {
  const { connection } = useStore(live);
  return html`<div role="status" aria-live="polite">
    ${connection === 'lost' && html`<p class="banner"><span aria-hidden="true">! </span>${t('lost')}</p>`}
  </div>`;
}

function skip(event) {
  event.preventDefault(); // the address says which view this is
  document.querySelector('#main h1')?.focus();
}
