// One plot. Lines differ by dashes as well as by colour; their values stand below it as text.
import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import { clock } from './format.js';
import { html } from './html.js';
import { t } from './i18n.js';

const DASHES = [[], [8, 4], [2, 3]];
const HEIGHT = 180;
const theme = matchMedia('(prefers-color-scheme: dark)');

export function Chart({ title, unit, times, lines }) {
  const place = useRef();
  const plot = useRef(null);
  const [at, setAt] = useState(null); // the index under the pointer
  const [dark, setDark] = useState(theme.matches);
  const shape = lines.map((each) => each.name).join('\n');
  useEffect(() => {
    const changed = () => setDark(theme.matches);
    theme.addEventListener('change', changed);
    return () => theme.removeEventListener('change', changed);
  }, []);
  useEffect(() => {
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const holder = place.current;
    const axis = { stroke: colour('--soft'), grid: { stroke: colour('--line'), width: 1 }, ticks: { stroke: colour('--line'), width: 1 }, font: '12px system-ui' };
    const made = new uPlot(
      {
        width: holder.clientWidth,
        height: HEIGHT,
        legend: { show: false },
        cursor: { drag: { x: false, y: false }, y: false },
        scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
        axes: [
          { ...axis, space: 80, size: 34, values: (_, ticks) => ticks.map((each) => clock(each).replace(/^(\d+:\d+):\d+/, '$1')) },
          { ...axis, size: 66, values: (_, ticks) => ticks.map(unit) },
        ],
        series: [{}, ...lines.map((each, index) => ({ label: each.name, stroke: colour(`--line-${each.bad ? 'bad' : index}`), width: 2, dash: DASHES[index], points: { size: 4 }, spanGaps: false }))],
        hooks: { setCursor: [(self) => setAt(self.cursor.idx ?? null)] },
      },
      [times, ...lines.map((each) => each.values)],
      holder,
    );
    plot.current = made;
    const watch = new ResizeObserver(() => made.setSize({ width: holder.clientWidth, height: HEIGHT }));
    watch.observe(holder);
    return () => {
      watch.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [dark, shape, title]);
  useEffect(() => plot.current?.setData([times, ...lines.map((each) => each.values)]), [times, lines]);
  const shown = (values) => (at === null ? values.findLast((each) => each != null) : values[at]);
  const when = at === null ? t('latest') : clock(times[at]);
  const told = lines.map((each) => `${each.name} ${unit(shown(each.values))}`);
  return html`<figure class="chart">
    <figcaption>${title}</figcaption>
    <div ref=${place} role="img" aria-label="${title}, ${when}: ${told.join(', ')}"></div>
    <ul class="legend" aria-hidden="true">
      <li class="when">${when}</li>
      ${lines.map((each, index) => html`<li><svg viewBox="0 0 24 4" class="stroke-${each.bad ? 'bad' : index}"><path d="M0 2h24" stroke-dasharray=${DASHES[index].join(' ') || undefined} /></svg>${each.name} <b>${unit(shown(each.values))}</b></li>`)}
    </ul>
  </figure>`;
}
