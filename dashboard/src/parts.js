// Small parts that every view is made of.
import { useEffect, useRef } from 'preact/hooks';
import { what } from './format.js';
import { html } from './html.js';
import { t, word } from './i18n.js';

// What a state means at a glance: a sign and a tone beside its word, so that nothing is said by colour alone.
const TONES = {
  good: ['serving', 'up', 'finished', 'static'],
  busy: ['deploying', 'starting', 'pulling', 'placed', 'running', 'removing', 'leaving', 'draining'],
  warn: ['degraded', 'warning', 'expired', 'unknown'],
  bad: ['failed', 'down', 'away', 'error'],
  idle: ['suspended', 'cancelled', 'info', 'queued'],
};
const SIGNS = { good: '✓', busy: '↻', warn: '!', bad: '✕', idle: '–' };
const toneOf = (state) => Object.keys(TONES).find((tone) => TONES[tone].includes(state)) ?? 'idle';

export function State({ name, family = 'state' }) {
  const tone = toneOf(name);
  return html`<span class="state ${tone}"><span aria-hidden="true">${SIGNS[tone]}</span> ${word(family, name)}</span>`;
}

export function Tile({ label, value, of, tone }) {
  return html`<div class="tile ${tone ?? ''}">
    <dt>${label}</dt>
    <dd>${value}${of !== undefined && html`<small> / ${of}</small>`}</dd>
  </div>`;
}

export function Progress({ label, value }) {
  return html`<div class="progress">
    <progress max="100" value=${value} aria-label=${label}></progress>
    <span>${value} %</span>
  </div>`;
}

// A view's heading takes the focus when the view is opened, so that a screen reader begins there.
export function Heading({ children, actions }) {
  const title = useRef();
  useEffect(() => {
    document.title = `${title.current.textContent} · ngpu`;
  });
  useEffect(() => {
    if (document.activeElement === document.body || document.activeElement?.closest('nav, header')) {
      title.current.focus({ preventScroll: true });
    }
  }, []);
  return html`<div class="heading">
    <h1 tabindex="-1" ref=${title}>${children}</h1>
    ${actions && html`<div class="actions">${actions}</div>`}
  </div>`;
}

export function Empty({ title, children }) {
  return html`<div class="empty"><p><strong>${title}</strong></p>${children && html`<p>${children}</p>`}</div>`;
}

export function Waiting() {
  return html`<p class="empty" role="status">${t('loading')}</p>`;
}

export function Failure({ error, again }) {
  return html`<div class="failure" role="alert">
    <p>${what(error)}</p>
    ${again && html`<button type="button" onClick=${again}>${t('try_again')}</button>`}
  </div>`;
}

// A button of something that takes a while: pressed again before it is done, it does nothing more.
export function Act({ does, children, ...more }) {
  const busy = useRef(false);
  const press = async () => {
    if (busy.current) return;
    busy.current = true;
    try {
      await does();
    } finally {
      busy.current = false;
    }
  };
  return html`<button type="button" ...${more} onClick=${press}>${children}</button>`;
}

// A table that becomes a list of cards where it is narrow; its roles are written out, as display takes them away.
export function Table({ label, columns, rows, name }) {
  return html`<table role="table" aria-label=${label} class="table">
    <thead role="rowgroup">
      <tr role="row">${columns.map((each) => html`<th role="columnheader" scope="col" class=${each.kind}>${each.title}</th>`)}</tr>
    </thead>
    <tbody role="rowgroup">
      ${rows.map(
        (row) => html`<tr role="row" key=${name(row)}>
          ${columns.map((each) => html`<td role="cell" class=${each.kind} data-label=${each.title}><div>${each.show(row)}</div></td>`)}
        </tr>`,
      )}
    </tbody>
  </table>`;
}

// One field of a form. problem: what the gateway says of its value.
export function Field({ id, label, hint, problem, children }) {
  return html`<div class="field ${problem ? 'wrong' : ''}">
    <label for=${id}>${label}</label>
    ${children}
    ${hint && html`<p class="hint" id="${id}-hint">${hint}</p>`}
    ${problem && html`<p class="problem" id="${id}-problem"><span aria-hidden="true">✕ </span>${problem}</p>`}
  </div>`;
}

export function described(id, hint, problem) {
  const by = [hint && `${id}-hint`, problem && `${id}-problem`].filter(Boolean).join(' ');
  return { id, name: id, 'aria-describedby': by || undefined, 'aria-invalid': problem ? 'true' : undefined };
}
