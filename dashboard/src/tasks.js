// Looking for tasks: by id, or by what is known of them.
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { get, query as asked } from './api.js';
import { instant, named, seconds, short, time, what } from './format.js';
import { html } from './html.js';
import { t, word } from './i18n.js';
import { live } from './live.js';
import { Act, Empty, Failure, Field, Heading, State, Table, Waiting, described } from './parts.js';
import { address, go } from './router.js';
import { useStore } from './store.js';
import { useReply } from './use.js';

const STATUSES = ['queued', 'running', 'finished', 'failed', 'cancelled', 'expired'];
const NAMES = ['workspace', 'status', 'node', 'address', 'start', 'end'];
const PAGE = 50;
const wide = matchMedia('(min-width: 761px)'); // where there is room for the filters and what they find

export function Tasks({ query }) {
  const wanted = Object.fromEntries(NAMES.map((name) => [name, query[name]]));
  const path = `/tasks${asked({ ...wanted, start: instant(wanted.start), end: instant(wanted.end, true), limit: PAGE })}`;
  const { data, error, again } = useReply(path);
  return html`
    <${Heading} actions=${html`<button type="button" onClick=${again}>${t('refresh')}</button>`}>${t('menu.tasks')}<//>
    <${ById} />
    <${Search} wanted=${wanted} error=${error} />
    <h2 id="found" class="quiet">${t('found')}</h2>
    ${error && error.status !== 400 && html`<${Failure} error=${error} again=${again} />`}
    ${!data && !error && html`<${Waiting} />`}
    ${data && html`<${Found} key=${`${path} ${data.tasks[0]?.id}`} first=${data} path=${path} />`}
  `;
}

function ById() {
  const show = (event) => {
    event.preventDefault();
    const id = new FormData(event.target).get('task').trim();
    if (id) go('tasks', id);
  };
  return html`<form class="row" role="search" aria-label=${t('by_id')} onSubmit=${show}>
    <${Field} id="task" label=${t('task_id')}><input id="task" name="task" required spellcheck=${false} autocomplete="off" /><//>
    <button type="submit">${t('show')}</button>
  </form>`;
}

function Search({ wanted, error }) {
  const { workspaces, nodes } = useStore(live);
  const form = useRef();
  useLayoutEffect(() => {
    // not as their value: this is drawn anew whenever the fleet moves, and somebody may be filling it in
    for (const name of NAMES) form.current.elements[name].value = wanted[name] ?? '';
  }, NAMES.map((name) => wanted[name]));
  const search = (event) => {
    event.preventDefault();
    go('tasks', '', Object.fromEntries(new FormData(event.target)));
  };
  const wrong = error?.status === 400 ? what(error) : '';
  const problem = (name) => (wrong.startsWith(`${name} `) ? wrong : '');
  const text = (name, hint) => html`<${Field} id=${`of-${name}`} label=${t(`of.${name}`)} hint=${hint} problem=${problem(name)}>
    <input ...${described(`of-${name}`, hint, problem(name))} name=${name} spellcheck=${false} autocomplete="off" list=${name === 'node' ? 'nodes' : undefined} />
  <//>`;
  const choice = (name, options) => html`<${Field} id=${`of-${name}`} label=${t(`of.${name}`)}>
    <select id=${`of-${name}`} name=${name}>
      <option key="" value="">${t('any')}</option>
      ${options.map(([value, label]) => html`<option key=${value} value=${value}>${label}</option>`)}
    </select>
  <//>`;
  const known = (workspaces ?? []).map((each) => [each.id, named(each)]);
  const removed = wanted.workspace && !known.some(([id]) => id === wanted.workspace) ? [[wanted.workspace, wanted.workspace]] : [];
  const open = wide.matches || NAMES.some((name) => wanted[name]);
  return html`<details class="filters" open=${open}><summary>${t('filters')}</summary><form ref=${form} class="search" role="search" aria-label=${t('search')} onSubmit=${search}>
    ${choice('workspace', [...known, ...removed])}
    ${choice('status', STATUSES.map((each) => [each, word('state', each)]))}
    ${text('node')}
    <datalist id="nodes">${(nodes ?? []).map((each) => html`<option value=${each.address}>${each.host}</option>`)}</datalist>
    ${text('address')}
    ${text('start', t('time_hint'))}
    ${text('end', t('time_hint'))}
    ${wrong && !NAMES.some(problem) && html`<p role="alert" class="problem">${wrong}</p>`}
    <div class="actions">
      <button type="submit" class="main">${t('search')}</button>
      <a class="button" href=${address('tasks')} onClick=${(event) => event.target.closest('form').reset()}>${t('clear')}</a>
    </div>
  </form></details>`;
}

function Found({ first, path }) {
  const [pages, setPages] = useState([first]);
  const [error, setError] = useState(null);
  useEffect(() => setPages([first]), [first]);
  const tasks = pages.flatMap((each) => each.tasks);
  const cursor = pages.at(-1).next_cursor;
  const more = async () => {
    try {
      const page = await get(`${path}&cursor=${encodeURIComponent(cursor)}`);
      setPages([...pages, page]);
      setError(null);
    } catch (failed) {
      setError(failed);
    }
  };
  const columns = [
    { title: t('task_id'), show: (each) => html`<a href=${address('tasks', each.id)} class="id">${each.id}</a>` },
    { title: t('of.workspace'), show: (each) => each.workspace_name || each.workspace },
    { title: t('of.status'), show: (each) => html`<${State} name=${each.status} />${each.reason && html` <span class="reason">${each.reason}</span>`}` },
    { title: t('submitted'), show: (each) => html`<time datetime=${each.submitted_at}>${time(each.submitted_at)}</time>` },
    { title: t('waited'), kind: 'number', show: (each) => seconds(each.waited) },
    { title: t('ran'), kind: 'number', show: (each) => (each.started_at ? seconds(each.ran) : '–') },
    { title: t('node'), show: (each) => (each.node ? html`<span class="host" title=${each.node}>${each.host || short(each.node)}</span>` : '–') },
  ];
  return html`
    <p class="quiet" role="status">${t('n_found', { n: tasks.length })}</p>
    ${tasks.length === 0 && html`<${Empty} title=${t('no_tasks')}>${t('no_tasks_hint')}<//>`}
    ${tasks.length > 0 && html`<${Table} label=${t('menu.tasks')} columns=${columns} rows=${tasks} name=${(each) => each.id} />`}
    ${error && html`<${Failure} error=${error} />`}
    ${cursor && html`<p class="actions"><${Act} does=${more}>${t('more')}<//></p>`}
  `;
}
