// One task: its record, its times, and what can be done with it.
import { part, post } from './api.js';
import { act } from './asking.js';
import { bytes, number, seconds, time } from './format.js';
import { html } from './html.js';
import { t, word } from './i18n.js';
import { Act, Failure, Heading, State, Waiting } from './parts.js';
import { address } from './router.js';
import { useReply } from './use.js';

const EVERY = 1.5;

export function Task({ id }) {
  const { data, error, again } = useReply(`/tasks/${part(id)}`, EVERY);
  const task = data?.task;
  if (!task) {
    return html`<${Heading}>${t('task')}<//>${error ? html`<${Failure} error=${error} again=${again} />` : html`<${Waiting} />`}
      <p><a href=${address('tasks')}>${t('all_tasks')}</a></p>`;
  }
  return html`
    <${Heading} actions=${html`<${Actions} task=${task} again=${again} />`}>${t('task')} <span class="id">${task.id}</span><//>
    <p><span role="status"><${State} name=${task.status} /> ${task.reason && html`<span class="reason">${task.reason}</span>`}</span>
      ${task.queue_position && t('position', { n: task.queue_position })} ${task.wait_estimate != null && t('estimate', { time: seconds(task.wait_estimate) })}
      ${task.progress}</p>
    <${Timing} task=${task} />
    <${Record} task=${task} />
  `;
}

function Actions({ task, again }) {
  const path = `/tasks/${part(task.id)}`;
  const run = async (...how) => {
    await act(...how);
    again();
  };
  const cancel = () =>
    run(() => post(`${path}/cancel`), t('cancelled_now'), { title: t('cancel_title'), text: t('cancel_text'), action: t('cancel') });
  const retry = () => run(() => post(`${path}/retry`), t('retried'));
  if (['queued', 'running'].includes(task.status)) return html`<${Act} class="danger" does=${cancel}>${t('cancel')}<//>`;
  if (task.status === 'finished') return null;
  return html`<${Act} does=${retry}>${t('retry')}<//>`;
}

// How its time was spent; the drawing repeats what the words beside it say.
function Timing({ task }) {
  const all = task.waited + task.ran || 1;
  const share = (value) => Math.round((1000 * value) / all) / 10;
  return html`<section aria-labelledby="timing">
    <h2 id="timing">${t('timing')}</h2>
    <svg class="timing" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
      <rect class="waited" width=${share(task.waited)} height="6" /><rect class="ran" x=${share(task.waited)} width=${share(task.ran)} height="6" />
    </svg>
    <ol class="times">
      <li><span>${t('submitted')}</span> <time datetime=${task.submitted_at}>${time(task.submitted_at)}</time></li>
      <li><span class="key waited" aria-hidden="true"></span><span>${t('waited')}</span> ${seconds(task.waited)}</li>
      ${task.started_at && html`<li><span>${t('started')}</span> <time datetime=${task.started_at}>${time(task.started_at)}</time></li>`}
      ${task.started_at && html`<li><span class="key ran" aria-hidden="true"></span><span>${t('ran')}</span> ${seconds(task.ran)}</li>`}
      ${task.ended_at && html`<li><span>${t('ended')}</span> <time datetime=${task.ended_at}>${time(task.ended_at)}</time></li>`}
    </ol>
  </section>`;
}

function Record({ task }) {
  const rows = [
    ['of.workspace', html`<a href=${address('workspaces', task.workspace)}>${task.workspace_name || task.workspace}</a>`],
    ['code', task.code || '–'],
    ['worker_status', task.worker_status || '–'],
    ['attempts', number(task.attempts)],
    ['retries', number(task.retries)],
    ['priority', word('priority', task.priority)],
    ['node', task.node ? html`<a href=${address('tasks', '', { node: task.node })}>${task.node}</a> ${task.host}` : '–'],
    ['replica', task.replica || '–'],
    ['call', task.app ? `${task.call} (${task.app})` : task.call],
    ['target', html`<code>${task.port} ${task.target}</code>`],
    ['of.address', task.address ? html`<a href=${address('tasks', '', { address: task.address })}>${task.address}</a>` : '–'],
    ['client', task.client || '–'],
    ['reply_kind', task.waits_for_reply ? t('waits_for_reply') : t('in_queue')],
    ['request_size', bytes(task.request_size)],
    ['result_size', bytes(task.result_size)],
  ];
  return html`<section aria-labelledby="record">
    <h2 id="record">${t('record')}</h2>
    <dl class="facts card">${rows.map(([name, value]) => html`<dt>${t(name)}</dt><dd>${value}</dd>`)}</dl>
    <p><a href=${address('events', '', { task: task.id })}>${t('its_events')}</a></p>
  </section>`;
}
