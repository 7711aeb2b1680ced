// How a workspace has done: what came in, what failed, how long it took, what waited.
import { useMemo, useState } from 'preact/hooks';
import { part } from './api.js';
import { Chart } from './chart.js';
import { clock, number, seconds } from './format.js';
import { html } from './html.js';
import { language, t } from './i18n.js';
import { Empty, Failure, Table, Waiting } from './parts.js';
import { useReply } from './use.js';

const WINDOWS = ['15m', '1h', '6h'];
const EVERY = 10; // seconds of a point
const LISTED = 30;

export function Charts({ id }) {
  const [window, setWindow] = useState('15m');
  const { data, error, again } = useReply(`/series?workspace=${part(id)}&window=${window}`, EVERY);
  return html`<section aria-labelledby="charts">
    <div class="heading">
      <h2 id="charts">${t('of_late')}</h2>
      <div class="filter"><label for="window">${t('window')}</label>
        <select id="window" value=${window} onChange=${(event) => setWindow(event.target.value)}>
          ${WINDOWS.map((each) => html`<option value=${each} selected=${each === window}>${t(`window.${each}`)}</option>`)}
        </select>
      </div>
    </div>
    ${error && html`<${Failure} error=${error} again=${again} />`}
    ${!data && !error && html`<${Waiting} />`}
    ${data && html`<${Drawn} points=${data.points} step=${data.step} />`}
  </section>`;
}

// The step that goes on has no figures yet, or not all of them.
const measured = (points) => (points.at(-1)?.requests || points.at(-1)?.queued ? points : points.slice(0, -1));

function Drawn({ points: all, step }) {
  const points = useMemo(() => measured(all), [all]);
  const rate = (value) => (value == null ? value : value / step);
  const plots = useMemo(() => {
    const column = (name, of = (value) => value) => points.map((each) => of(each[name]));
    const times = points.map((each) => (typeof each.time === 'number' ? each.time : Date.parse(each.time) / 1000));
    return [
      { title: t('throughput'), unit: (value) => t('per_second', { n: number(value, 2) }), times, lines: [{ name: t('requests'), values: column('requests', rate) }, { name: t('errors'), values: column('errors', rate), bad: true }] },
      { title: t('latency'), unit: seconds, times, lines: ['p50', 'p90', 'p99'].map((name) => ({ name, values: column(name) })) },
      { title: t('waiting_now'), unit: (value) => number(value), times, lines: [{ name: t('queued'), values: column('queued') }, { name: t('waiting'), values: column('waiting') }, { name: t('in_flight'), values: column('in_flight') }] },
    ];
  }, [points, step, language.get()]);
  if (!points.length) return html`<${Empty} title=${t('no_points')} />`;
  const columns = [
    { title: t('time'), show: (each) => clock(each.time) },
    { title: t('requests'), kind: 'number', show: (each) => number(each.requests) },
    { title: t('errors'), kind: 'number', show: (each) => number(each.errors) },
    ...['p50', 'p90', 'p99'].map((name) => ({ title: name, kind: 'number', show: (each) => seconds(each[name]) })),
    { title: t('queued'), kind: 'number', show: (each) => number(each.queued) },
    { title: t('waiting'), kind: 'number', show: (each) => number(each.waiting) },
    { title: t('in_flight'), kind: 'number', show: (each) => number(each.in_flight) },
  ];
  const busy = points.filter((each) => each.requests || each.queued || each.in_flight);
  return html`
    <div class="charts">${plots.map((each) => html`<${Chart} key=${each.title} ...${each} />`)}</div>
    <details>
      <summary>${t('as_table')}</summary>
      ${busy.length === 0 ? html`<${Empty} title=${t('no_points')} />` : html`<${Table} label=${t('of_late')} columns=${columns} rows=${busy.slice(-LISTED).reverse()} name=${(each) => each.time} />`}
    </details>`;
}
