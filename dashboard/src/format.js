import { tag, t } from './i18n.js';

// Making one takes a hundred times as long as using it, and a view may have thousands of values.
const formats = new Map();
function formatted(Kind, options, value) {
  const key = `${tag()} ${new Date().getTimezoneOffset()} ${JSON.stringify(options)}`; // a laptop may travel
  if (!formats.has(key)) formats.set(key, new Kind(tag(), options));
  return formats.get(key).format(value);
}

export function number(value, digits = 1) {
  return value == null ? '–' : formatted(Intl.NumberFormat, { maximumFractionDigits: digits }, value);
}

// Seconds, as short as they can be said.
export function seconds(value) {
  if (value == null) return '–';
  if (value < 1) return `${number(value * 1000, 0)} ms`;
  if (value < 120) return `${number(value, value < 10 ? 2 : 1)} s`;
  if (value < 7200) return `${number(value / 60, 1)} min`;
  return `${number(value / 3600, 1)} h`;
}

export function bytes(value) {
  if (!value) return '0 B';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const step = Math.min(units.length - 1, Math.floor(Math.log2(value) / 10));
  return `${number(value / 1024 ** step, 1)} ${units[step]}`;
}

// A moment of the API: seconds since the epoch, or a text as ISO 8601 has it.
export function moment(value) {
  const date = typeof value === 'number' ? new Date(value * 1000) : new Date(value);
  return Number.isNaN(date.getTime()) ? null : date;
}

const TYPED = /^(\d{4})-(\d{1,2})-(\d{1,2})(?:[ T](\d{1,2}):(\d{2}):(\d{2}))?$/;

// A date that somebody types, or a date with a time, is meant as times are shown here: the gateway's zone may be another.
// last: a date's last moment, or a second's. What is no such thing stays as it is, for the gateway to judge.
export function instant(text, last = false) {
  const [year, month, day, ...clock] = TYPED.exec(text?.trim() ?? '')?.slice(1) ?? [];
  if (!year) return text;
  const [hour, minute, second] = clock[0] ? clock : last ? [23, 59, 59] : [0, 0, 0];
  const date = new Date(year, month - 1, day, hour, minute, second, last ? 999 : 0);
  const same = date.getMonth() === month - 1 && date.getDate() === Number(day);
  return same && hour < 24 && minute < 60 && second < 60 ? date.toISOString() : text;
}

const CLOCK = { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' };

export function time(value) {
  const date = value == null ? null : moment(value);
  if (!date) return '–';
  const year = date.getFullYear() === new Date().getFullYear() ? {} : { year: 'numeric' };
  return formatted(Intl.DateTimeFormat, { ...year, month: 'short', day: 'numeric', ...CLOCK }, date);
}

export function clock(value) {
  const date = value == null ? null : moment(value);
  return date ? formatted(Intl.DateTimeFormat, CLOCK, date) : '–';
}

export function short(address) {
  return address.length > 14 ? `${address.slice(0, 8)}…${address.slice(-4)}` : address;
}

export const named = (workspace) => workspace.name || workspace.id;
export const what = (error) => (error.status === 0 ? t('away') : error.message);
