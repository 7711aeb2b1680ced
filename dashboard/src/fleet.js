// The machines and what runs on them.
import { useState } from 'preact/hooks';
import { part, post } from './api.js';
import { act } from './asking.js';
import { useDetails } from './details.js';
import { bytes, named, number, short, time } from './format.js';
import { html } from './html.js';
import { t } from './i18n.js';
import { live } from './live.js';
import { Act, Empty, Heading, Progress, State, Tile, Waiting } from './parts.js';
import { address } from './router.js';
import { useStore } from './store.js';

const SHOWN = 60;
const UNDER_WAY = ['deploying', 'degraded', 'failed', 'removing'];
const sum = (list, of) => list.reduce((total, each) => total + of(each), 0);

export function Fleet() {
  const { nodes, workspaces } = useStore(live);
  const details = useDetails(workspaces ?? []);
  if (!nodes) return html`<${Heading}>${t('menu.fleet')}<//><${Waiting} />`;
  const copies = Object.values(details).flatMap((each) => each.copies.map((copy) => ({ ...copy, workspace: each })));
  const moving = workspaces.filter((each) => UNDER_WAY.includes(each.state));
  return html`
    <${Heading}>${t('menu.fleet')}<//>
    <dl class="tiles">
      <${Tile} label=${t('nodes_up')} value=${nodes.filter((each) => each.state !== 'away').length} of=${nodes.length}
        tone=${nodes.some((each) => each.state === 'away') ? 'bad' : ''} />
      <${Tile} label=${t('gpus_used')} value=${sum(nodes, (each) => each.gpus.count - each.gpus.free)} of=${sum(nodes, (each) => each.gpus.count)} />
      <${Tile} label=${t('replicas_serving')} value=${sum(workspaces, (each) => each.serving)} of=${sum(workspaces, (each) => each.replicas)} />
      <${Tile} label=${t('in_flight')} value=${number(sum(workspaces, (each) => each.in_flight))} />
      <${Tile} label=${t('queued')} value=${number(sum(workspaces, (each) => each.queued))} />
    </dl>
    ${moving.length > 0 &&
    html`<section aria-labelledby="moving">
      <h2 id="moving">${t('under_way')}</h2>
      <ul class="cards">${moving.map((each) => html`<li key=${each.id}><${Deployment} workspace=${each} detail=${details[each.id]} /></li>`)}</ul>
    </section>`}
    <${Nodes} nodes=${nodes} copies=${copies} />
  `;
}

function Deployment({ workspace, detail }) {
  return html`<article class="card">
    <h3><a href=${address('workspaces', workspace.id)}>${named(workspace)}</a> <${State} name=${workspace.state} /></h3>
    <p>${t('serving_of', { serving: workspace.serving, replicas: workspace.replicas })}</p>
    ${workspace.reason && html`<p class="reason">${workspace.reason}</p>`}
    ${detail && html`<${NodeProgress} nodes=${detail.nodes} />`}
  </article>`;
}

export function NodeProgress({ nodes }) {
  if (!nodes.length) return null;
  return html`<ul class="plain">
    ${nodes.map(
      (node) => html`<li key=${node.address} class="on-node">
        <span title=${node.address}>${short(node.address)}</span>
        ${node.status ? html`<${State} name="serving" />` : html`<${Progress} label=${t('image_on', { node: node.address })} value=${node.progress} />`}
        ${node.reason && html`<span class="reason">${node.reason}</span>`}
      </li>`,
    )}
  </ul>`;
}

function Nodes({ nodes, copies }) {
  const [wanted, want] = useState('');
  const [most, setMost] = useState(SHOWN);
  const text = wanted.trim().toLowerCase();
  const found = nodes.filter((each) => JSON.stringify([each.address, each.host, each.labels, each.state, each.gpus.type]).toLowerCase().includes(text));
  return html`<section aria-labelledby="nodes">
    <div class="heading">
      <h2 id="nodes">${t('nodes')}</h2>
      ${(nodes.length > 3 || text) &&
      html`<div class="filter"><label for="find-node">${t('find_node')}</label>
        <input id="find-node" type="search" value=${wanted} onInput=${(event) => want(event.target.value)} /></div>`}
    </div>
    ${nodes.length === 0 && html`<${Empty} title=${t('no_nodes')}>${t('no_nodes_hint')}<//>`}
    ${nodes.length > 0 && found.length === 0 && html`<${Empty} title=${t('nothing_found')} />`}
    <ul class="cards">
      ${found.slice(0, most).map(
        (node) => html`<li key=${node.address}><${Node} node=${node} copies=${copies.filter((each) => each.node === node.address)} /></li>`,
      )}
    </ul>
    ${found.length > most && html`<button type="button" onClick=${() => setMost(most + SHOWN)}>${t('more')}</button>`}
  </section>`;
}

function Node({ node, copies }) {
  const labels = Object.entries(node.labels);
  return html`<article class="card" aria-label=${node.address}>
    <h3>${node.host} <${State} name=${node.state} family="node" />${node.draining && html` <${State} name="draining" />`}</h3>
    <p class="address">${node.address}</p>
    ${node.reason && html`<p class="reason">${node.reason}</p>`}
    ${node.away_since && html`<p class="reason">${t('away_since', { time: time(node.away_since) })}</p>`}
    <dl class="facts">
      <dt>GPU</dt>
      <dd>${node.gpus.count === 0 ? t('none') : html`${t('free_of', { free: node.gpus.free, count: node.gpus.count })} · ${node.gpus.type} ${node.gpus.memory ? bytes(node.gpus.memory) : ''}
        <meter min="0" max=${node.gpus.count} value=${node.gpus.count - node.gpus.free} aria-label=${t('gpus_used')}></meter>`}</dd>
      ${node.memory > 0 && html`<dt>${t('memory')}</dt><dd>${bytes(node.memory)}</dd>`}
      ${labels.length > 0 && html`<dt>${t('labels')}</dt><dd>${labels.map(([name, value]) => `${name}=${value}`).join(', ')}</dd>`}
    </dl>
    <h4>${t('replicas')}</h4>
    ${copies.length === 0 ? node.copies === 0 && html`<p class="hint">${t('no_replicas')}</p>` : html`<ul class="plain">${copies.map((copy) => html`<li key=${copy.id}><${Replica} copy=${copy} /></li>`)}</ul>`}
    ${node.copies > copies.length && html`<p class="hint">${t('more_replicas', { n: node.copies - copies.length })}</p>`}
    ${node.engine && html`<${Drain} node=${node} />`}
  </article>`;
}

function Replica({ copy }) {
  return html`<div class="replica">
    <a href=${address('workspaces', copy.workspace.id)}>${named(copy.workspace)}</a>
    <${State} name=${copy.state === 'static' ? copy.health : copy.state} family="copy" />
    <span>${t('in_flight_n', { n: copy.in_flight })}</span>
    ${copy.reason && html`<span class="reason">${copy.reason}</span>`}
  </div>`;
}

function Drain({ node }) {
  const path = `/nodes/${part(node.address)}`;
  const drain = () =>
    act(() => post(`${path}/drain`), t('drained', { node: node.host }), {
      title: t('drain_title', { node: node.host }),
      text: t('drain_text'),
      action: t('drain'),
    });
  const undrain = () => act(() => post(`${path}/undrain`), t('undrained', { node: node.host }));
  const label = `${node.draining ? t('undrain') : t('drain')} ${node.address}`;
  return html`<div class="actions">
    <${Act} aria-label=${label} class=${node.draining ? '' : 'danger'} does=${node.draining ? undrain : drain}>
      ${node.draining ? t('undrain') : t('drain')}
    <//>
  </div>`;
}
