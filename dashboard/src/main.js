import { render } from 'preact';
import './style.css';
import 'uplot/dist/uPlot.min.css';
import { App } from './app.js';
import { html } from './html.js';

render(html`<${App} />`, document.getElementById('app'));
