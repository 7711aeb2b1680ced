// The form that makes a workspace. It hints; the gateway decides, and what it says stands at the field.
import { useEffect, useRef, useState } from 'preact/hooks';
import { ending, post, session } from './api.js';
import { say } from './asking.js';
import { named, what } from './format.js';
import { html } from './html.js';
import { t } from './i18n.js';
import { live } from './live.js';
import { Field, Heading, described } from './parts.js';
import { address, go, route } from './router.js';
import { Mistake, byField, settingsOf } from './settings.js';
import { useStore } from './store.js';

const FIRST = { kind: 'image', id: '', name: '', reference: '', command: '', env: '', replicas: '2', gpu_count: '1', gpu_type: '', upstream: '', declared: '8080', inside: '', health: '', slots: '', path: '', timeout: '', keys: '', more: '' };
const DIGITS = 18;

// What stands in the form until it is sent or left, also while somebody looks at something else, or logs in again.
let draft = FIRST;
session.follow((open) => {
  if (open === null && !ending.unasked) draft = FIRST;
});

const randomId = () => [...crypto.getRandomValues(new Uint8Array(DIGITS))].map((each, index) => (index ? each % 10 : 1 + (each % 9))).join('');

export function Create() {
  const { nodes } = useStore(live);
  const [values, setValues] = useState(draft);
  const [problems, setProblems] = useState({});
  const [failure, setFailure] = useState('');
  const [refused, setRefused] = useState(0);
  const [busy, setBusy] = useState(false);
  const form = useRef();
  const image = values.kind === 'image';
  useEffect(() => {
    // once for each time, not as soon as one field is mended: the focus would leave it under the hands of who types
    if (refused) (form.current.querySelector('[aria-invalid="true"]') ?? form.current.querySelector('.failure'))?.focus();
  }, [refused]);

  const change = (name) => (event) => {
    const { value } = event.target;
    draft = { ...draft, [name]: value };
    setValues(draft);
    setProblems((before) => (before[name] ? { ...before, [name]: undefined } : before));
  };
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setFailure('');
    const here = route.get();
    try {
      const settings = settingsOf(values, { quotes: t('bad_quotes'), env: t('bad_env'), json: t('bad_json') });
      const { workspace } = await post('/workspaces', settings);
      say(t('created', { name: named(workspace) }));
      draft = FIRST;
      if (route.get() === here) go('workspaces', workspace.id);
    } catch (error) {
      setBusy(false);
      if (error instanceof Mistake) setProblems({ [error.field]: error.message });
      else if (error.status === 409) setProblems({ id: what(error) });
      else setProblems(byField(error.problems ?? [], values));
      setFailure(error.problems?.length || error instanceof Mistake ? t('see_fields') : what(error));
      setRefused((times) => times + 1);
    }
  };

  const of = (name, hint) => ({ ...described(`new-${name}`, hint, problems[name]), name, value: values[name], onInput: change(name), spellcheck: false, autocomplete: 'off' });
  const field = (name, control, hint = t(`hint.${name}`)) => html`<${Field} id=${`new-${name}`} label=${t(`new.${name}`)} hint=${hint} problem=${problems[name]}>${control}<//>`;
  const text = (name, more = {}) => field(name, html`<input ...${of(name, true)} ...${more} />`);
  const area = (name, rows) => field(name, html`<textarea rows=${rows} ...${of(name, true)}></textarea>`);
  const count = (name, least) => text(name, { type: 'number', min: least, step: 1, inputmode: 'numeric' });
  return html`
    <${Heading}>${t('new_workspace')}<//>
    <form ref=${form} class="create" noValidate onSubmit=${submit} aria-label=${t('new_workspace')}>
      <div role="alert">${failure && html`<p class="failure" tabindex="-1"><span><span aria-hidden="true">✕ </span>${failure}</span></p>`}</div>
      <fieldset>
        <legend>${t('who_it_is')}</legend>
        ${field('id', html`<div class="joined"><input ...${of('id', true)} required />
          <button type="button" onClick=${() => change('id')({ target: { value: randomId() } })}>${t('suggest')}</button></div>`)}
        ${text('name')}
        ${area('keys', 2)}
      </fieldset>
      <fieldset>
        <legend>${t('what_runs')}</legend>
        <div class="choices" role="radiogroup" aria-label=${t('what_runs')}>
          ${['image', 'upstream'].map((kind) => html`<label><input type="radio" name="kind" value=${kind} checked=${values.kind === kind} onChange=${change('kind')} /> ${t(`kind.${kind}`)}</label>`)}
        </div>
        ${image ? html`
          ${text('reference', { required: true })}
          ${text('command')}
          ${area('env', 2)}
          <div class="beside">${count('replicas', 0)}${count('gpu_count', 0)}${text('gpu_type')}</div>`
        : html`${area('upstream', 3)}
          ${nodes?.length > 0 && html`<p class="hint">${t('known_nodes')} ${nodes.map((each) => html`<code>${each.address}</code> `)}</p>`}`}
        <div class="beside">${count('declared', 1)}${count('inside', 1)}</div>
      </fieldset>
      <fieldset>
        <legend>${t('how_it_is_called')}</legend>
        <div class="beside">${text('path')}${text('health')}${count('slots', 1)}${text('timeout')}</div>
        ${area('more', 3)}
      </fieldset>
      <div class="actions">
        <button type="submit" class="main" disabled=${busy}>${t('create')}</button>
        <a class="button" href=${address('workspaces')} onClick=${() => (draft = FIRST)}>${t('leave')}</a>
      </div>
    </form>
  `;
}
