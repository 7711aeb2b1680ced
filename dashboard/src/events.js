// What happened: what failed, what was placed elsewhere. New ones come by themselves, at the top.
import { named, number, short, time } from './format.js';
import { html } from './html.js';
import { t, word } from './i18n.js';
import { MOST_EVENTS, events, live } from './live.js';
import { Empty, Field, Heading, State } from './parts.js';
import { address, go } from './router.js';
import { useStore } from './store.js';

const SEVERITIES = ['error', 'warning', 'info'];
const NAMES = ['severity', 'kind', 'workspace', 'node', 'task'];

export function Events({ query }) {
  const all = useStore(events);
  const { workspaces } = useStore(live);
  const names = new Map((workspaces ?? []).map((each) => [each.id, named(each)]));
  const given = NAMES.filter((name) => query[name]);
  const found = all.filter((each) => given.every((name) => each[name] === query[name]));
  const offered = (name) => [...new Set([...all.map((each) => each[name]), query[name]])].filter(Boolean).sort();
  const choice = (name, options, label) => html`<${Field} id=${`event-${name}`} label=${t(`of.${name}`)}>
    <select id=${`event-${name}`} onChange=${(event) => go('events', '', { ...query, [name]: event.target.value })}>
      <option value="">${t('any')}</option>
      ${options.map((each) => html`<option key=${each} value=${each} selected=${query[name] === each}>${label(each)}</option>`)}
    </select>
  <//>`;
  return html`
    <${Heading} actions=${given.length > 0 && html`<a class="button" href=${address('events')}>${t('clear')}</a>`}>${t('menu.events')}<//>
    <form class="search" aria-label=${t('search')} onSubmit=${(event) => event.preventDefault()}>
      ${choice('severity', SEVERITIES, (each) => word('severity', each))}
      ${choice('kind', offered('kind'), (each) => word('event', each))}
      ${choice('workspace', offered('workspace'), (each) => names.get(each) ?? each)}
      ${choice('node', offered('node'), short)}
    </form>
    ${found.length === 0 && html`<${Empty} title=${all.length ? t('nothing_found') : t('no_events')}>${!all.length && t('no_events_hint')}<//>`}
    <ol class="events" aria-label=${t('menu.events')}>${found.map((each) => html`<${Event} key=${each.id} event=${each} name=${names.get(each.workspace)} />`)}</ol>
    ${all.length >= MOST_EVENTS && html`<p class="hint">${t('older_events', { n: MOST_EVENTS })}</p>`}
  `;
}

function Event({ event, name }) {
  return html`<li class="event">
    <${State} name=${event.severity} family="severity" />
    <div>
      <p>${event.message} ${event.count > 1 && html`<strong>${t('n_times', { n: number(event.count) })}</strong>`}</p>
      <p class="hint">
        <time datetime=${new Date(typeof event.time === 'number' ? event.time * 1000 : event.time).toISOString()}>${time(event.time)}</time> · ${word('event', event.kind)}
        ${event.workspace && html` · <a href=${address('workspaces', event.workspace)}>${name ?? event.workspace}</a>`}
        ${event.node && html` · <a href=${address('events', '', { node: event.node })} title=${event.node}>${short(event.node)}</a>`}
        ${event.task && html` · <a href=${address('tasks', event.task)} class="id">${event.task}</a>`}
      </p>
    </div>
  </li>`;
}
