// Saying something, and asking before something that cannot be taken back.
import { useEffect, useRef } from 'preact/hooks';
import { ApiError, session } from './api.js';
import { what } from './format.js';
import { html } from './html.js';
import { t } from './i18n.js';
import { route } from './router.js';
import { makeStore, useStore } from './store.js';

const SHOWN = 6000;
const notice = makeStore(null);
const question = makeStore(null);

export function say(text, wrong = false) {
  const mine = { text, wrong };
  notice.set(mine);
  if (!wrong) setTimeout(() => notice.get() === mine && notice.set(null), SHOWN);
}

// Whether it is to be done: {title, text, action}.
export function ask(of) {
  return new Promise((resolve) => {
    question.set({ ...of, resolve });
  });
}

// Ask where there is a question, do it, and say what came of it; false where nothing was done.
export async function act(work, done, of) {
  if (of && !(await ask(of))) return false;
  try {
    const reply = await work();
    say(done ?? reply.msg);
    return true;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    say(what(error), true);
    return false;
  }
}

export function Notices() {
  const shown = useStore(notice);
  return html`<div class="notices">
    <div role="status" aria-live="polite">${shown && !shown.wrong && html`<p class="notice">${shown.text}</p>`}</div>
    <div role="alert">
      ${shown?.wrong &&
      html`<p class="notice wrong">
        <span><span aria-hidden="true">✕ </span>${shown.text}</span>
        <button type="button" onClick=${() => notice.set(null)}>${t('dismiss')}</button>
      </p>`}
    </div>
  </div>`;
}

export function Question() {
  const asked = useStore(question);
  return asked && html`<${Asked} ...${asked} />`;
}

function Asked({ title, text, action, resolve }) {
  const dialog = useRef();
  const answered = useRef(false);
  const answer = (sure) => {
    if (answered.current) return;
    answered.current = true;
    dialog.current.close(); // which gives the focus back to whoever had it
    question.set(null);
    resolve(sure);
  };
  useEffect(() => {
    dialog.current.showModal();
    // whoever goes elsewhere, or whose session is over, has not said yes
    const ends = [route, session].map((each) => each.follow(() => answer(false)));
    return () => ends.forEach((end) => end());
  }, []);
  const cancelled = (event) => {
    event.preventDefault();
    answer(false);
  };
  return html`<dialog ref=${dialog} aria-labelledby="question" aria-describedby="question-text" 
    onCancel=${cancelled} onClose=${() => answer(false)}>
    <h2 id="question">${title}</h2>
    <p id="question-text">${text}</p>
    <div class="actions">
      <button type="button" onClick=${() => answer(false)}>${t('keep')}</button>
      <button type="button" class="danger" onClick=${() => answer(true)}>${action}</button>
    </div>
  </dialog>`;
}
