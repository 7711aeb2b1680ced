// One workspace: how it stands, how it has done of late, what runs of it.
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { getText, part, post, remove } from './api.js';
import { act } from './asking.js';
import { Charts } from './charts.js';
import { NodeProgress } from './fleet.js';
import { named, number, short } from './format.js';
import { html } from './html.js';
import { t } from './i18n.js';
import { live } from './live.js';
import { Act, Empty, Failure, Heading, State, Table, Tile, Waiting } from './parts.js';
import { address, go, route } from './router.js';
import { useStore } from './store.js';
import { useReply } from './use.js';

const EVERY = 2;
const LINES = 200; // of a log, from its end

export function Workspace({ id }) {
  const { data, error, again } = useReply(`/workspaces/${part(id)}`, EVERY);
  const { workspaces } = useStore(live);
  const found = data?.workspace;
  if (!found) {
    return html`<${Heading}>${t('workspace')}<//>${error ? html`<${Failure} error=${error} again=${again} />` : html`<${Waiting} />`}`;
  }
  const line = { ...found, ...workspaces?.find((each) => each.id === id) };
  return html`
    <${Heading} actions=${html`<${Actions} workspace=${line} again=${again} />`}>${named(line)}<//>
    <p><${State} name=${line.state} /> ${line.reason && html`<span class="reason">${line.reason}</span>`}</p>
    <dl class="tiles">
      <${Tile} label=${t('replicas_serving')} value=${line.serving} of=${line.replicas} tone=${line.serving < line.replicas ? 'warn' : ''} />
      <${Tile} label=${t('in_flight')} value=${number(line.in_flight)} />
      <${Tile} label=${t('queued')} value=${number(line.queued)} />
    </dl>
    ${found.problems.length > 0 &&
    html`<div class="failure"><p>${t('broken_settings')}</p>
      <ul>${found.problems.map((each) => html`<li><code>${each.path}</code> ${each.message}</li>`)}</ul></div>`}
    ${!['serving', 'static', 'suspended'].includes(line.state) &&
    html`<section aria-labelledby="progress"><h2 id="progress">${t('under_way')}</h2><${NodeProgress} nodes=${found.nodes} />
      ${found.unplaced.length > 0 && html`<h3>${t('unplaced')}</h3><ul>${found.unplaced.map((each) => html`<li>${short(each.address)}: ${each.reason}</li>`)}</ul>`}
    </section>`}
    <${Charts} id=${id} />
    <${Copies} copies=${found.copies} />
    <p><a href=${address('tasks', '', { workspace: id })}>${t('its_tasks')}</a> · <a href=${address('events', '', { workspace: id })}>${t('its_events')}</a></p>
    <section aria-labelledby="settings">
      <h2 id="settings">${t('settings')}</h2>
      <dl class="facts"><dt>${t('id')}</dt><dd><code>${id}</code></dd><dt>${t('source')}</dt><dd>${t(`source.${line.source}`)}</dd></dl>
      <details><summary>${t('all_settings')}</summary><pre tabindex="0">${JSON.stringify(found.settings, null, 2)}</pre></details>
    </section>
  `;
}

function Copies({ copies }) {
  const [open, setOpen] = useState(null); // the id of the one whose log is shown
  const columns = [
    { title: t('node'), show: (each) => html`<span title=${each.node}>${short(each.node)}</span>${each.machine && ` (${each.machine})`}` },
    { title: t('state'), show: (each) => html`<${State} name=${each.state} family="copy" />${each.reason && html` <span class="reason">${each.reason}</span>`}` },
    { title: t('health'), show: (each) => html`<${State} name=${each.health} family="health" />` },
    { title: t('in_flight'), kind: 'number', show: (each) => number(each.in_flight) },
    { title: t('ports'), show: (each) => Object.entries(each.ports).map(([port, outside]) => `${port} → ${outside}`).join(', ') || '–' },
    ...(copies.every((each) => each.state === 'static') ? [] : [{ title: t('log'), show: (each) => html`<${LogButton} id=${each.id} open=${open} set=${setOpen} />` }]),
  ];
  return html`<section aria-labelledby="copies">
    <h2 id="copies">${t('replicas')}</h2>
    ${copies.length === 0 ? html`<${Empty} title=${t('no_replicas')} />` : html`<${Table} label=${t('replicas')} columns=${columns} rows=${copies} name=${(each) => each.id} />`}
    ${copies.some((each) => each.id === open) && html`<${Log} key=${open} id=${open} />`}
  </section>`;
}

function LogButton({ id, open, set }) {
  const shown = open === id;
  return html`<button type="button" aria-expanded=${shown ? 'true' : 'false'} aria-label=${`${t('log')} ${id}`} onClick=${() => set(shown ? null : id)}>
    ${shown ? t('hide') : t('show')}
  </button>`;
}

function Log({ id }) {
  const { data, error, again } = useReply(`/logs?replica=${part(id)}&tail=${LINES}`, EVERY, getText);
  const place = useRef();
  const shown = useRef(null);
  const atEnd = useRef(true);
  const chosen = getSelection();
  // a text that changes loses what is selected of it, before anybody can copy that
  if (chosen.isCollapsed || !place.current?.contains(chosen.anchorNode)) shown.current = data;
  useLayoutEffect(() => {
    if (place.current && atEnd.current) place.current.scrollTop = place.current.scrollHeight; // where the newest is
  });
  const scrolled = ({ target }) => {
    atEnd.current = target.scrollTop + target.clientHeight > target.scrollHeight - 5;
  };
  return html`<div>
    <h3 id="log">${t('log_of', { id })}</h3>
    ${error && html`<${Failure} error=${error} again=${again} />`}
    ${data !== null && html`<pre ref=${place} onScroll=${scrolled} tabindex="0" role="region" aria-labelledby="log">${shown.current || t('printed_nothing')}</pre>`}
  </div>`;
}

function Actions({ workspace, again }) {
  const path = `/workspaces/${part(workspace.id)}`;
  const name = named(workspace);
  const run = async (...how) => (await act(...how)) && again();
  const deploy = (fresh) => run(() => post(`${path}/deploy`, fresh ? { fresh } : {}), t('deploying_now', { name }));
  const undeploy = () =>
    run(() => post(`${path}/undeploy`), t('undeployed', { name }), {
      title: t('undeploy_title', { name }),
      text: t('undeploy_text'),
      action: t('undeploy'),
    });
  const drop = async () => {
    const here = route.get();
    const done = await act(() => remove(path), undefined, { title: t('remove_title', { name }), text: t('remove_text'), action: t('remove') });
    if (done && route.get() === here) go('workspaces');
  };
  const hasImage = workspace.image !== null;
  const suspended = workspace.state === 'suspended';
  return html`
    ${hasImage && html`<${Act} does=${() => deploy(false)}>${suspended ? t('deploy') : t('deploy_again')}<//>`}
    ${hasImage && !suspended && html`<${Act} title=${t('deploy_fresh_hint')} does=${() => deploy(true)}>${t('deploy_fresh')}<//>`}
    ${hasImage && !suspended && html`<${Act} class="danger" does=${undeploy}>${t('undeploy')}<//>`}
    ${workspace.source === 'api' && html`<${Act} class="danger" does=${drop}>${t('remove')}<//>`}
  `;
}
