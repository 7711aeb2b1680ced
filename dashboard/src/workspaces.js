import { named, number } from './format.js';
import { html } from './html.js';
import { t } from './i18n.js';
import { live } from './live.js';
import { Empty, Heading, State, Table, Waiting } from './parts.js';
import { address } from './router.js';
import { useStore } from './store.js';

export function Workspaces() {
  const { workspaces } = useStore(live);
  const make = html`<a class="button main" href=${address('workspaces', 'new')}>${t('new_workspace')}</a>`;
  const columns = [
    { title: t('name'), show: (each) => html`<a href=${address('workspaces', each.id)}>${named(each)}</a>` },
    { title: t('state'), show: (each) => html`<${State} name=${each.state} />${each.reason && html` <span class="reason">${each.reason}</span>`}` },
    { title: t('serving'), kind: 'number', show: (each) => t('n_of', { n: each.serving, of: each.replicas }) },
    { title: t('queued'), kind: 'number', show: (each) => number(each.queued) },
    { title: t('in_flight'), kind: 'number', show: (each) => number(each.in_flight) },
    { title: t('image'), show: (each) => html`<span class="long">${each.image ?? t('runs_already')}</span>` },
  ];
  return html`
    <${Heading} actions=${make}>${t('menu.workspaces')}<//>
    ${!workspaces && html`<${Waiting} />`}
    ${workspaces?.length === 0 && html`<${Empty} title=${t('no_workspaces')}>${t('no_workspaces_hint')}<//>`}
    ${workspaces?.length > 0 && html`<${Table} label=${t('menu.workspaces')} columns=${columns} rows=${workspaces} name=${(each) => each.id} />`}
  `;
}
