import { useEffect, useRef, useState } from 'preact/hooks';
import { ending, login } from './api.js';
import { what } from './format.js';
import { html } from './html.js';
import { t } from './i18n.js';
import { Field, described } from './parts.js';

export function Login() {
  const [problem, setProblem] = useState('');
  const [busy, setBusy] = useState(false);
  const field = useRef();
  useEffect(() => {
    document.title = `${t('log_in')} · ngpu`;
  });
  useEffect(() => field.current.focus(), []);
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await login(field.current.value);
    } catch (error) {
      setBusy(false);
      setProblem(error.status === 401 ? t('wrong_token') : what(error));
      field.current.focus();
    }
  };
  return html`<main id="main" class="login">
    <form class="card" onSubmit=${submit}>
      <h1 tabindex="-1">${t('log_in')}</h1>
      ${ending.unasked && html`<p role="status">${t('session_over')}</p>`}
      <input type="text" name="username" value="admin" autocomplete="username" hidden readonly />
      <${Field} id="token" label=${t('token')} hint=${t('token_hint')}>
        <input ref=${field} type="password" autocomplete="current-password" required spellcheck=${false}
          ...${described('token', true, problem)} />
      <//>
      <p role="alert" id="token-problem" class="problem">${problem}</p>
      <button type="submit" class="main" disabled=${busy}>${t('log_in')}</button>
    </form>
  </main>`;
}
