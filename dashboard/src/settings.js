// From what stands in the form to the block of settings that is sent, and from the gateway's problems to fields.

// Each field, and the path of the setting that it gives; the gateway's words for that path are shown there.
export const PATHS = {
  id: 'id',
  name: 'name',
  reference: 'image',
  command: 'command',
  env: 'env',
  replicas: 'replicas',
  gpu_count: 'gpus.count',
  gpu_type: 'gpus.type',
  upstream: 'upstream',
  declared: 'ports',
  health: 'health.path',
  slots: 'slots',
  path: 'path',
  timeout: 'timeout',
  keys: 'keys',
};

const lines = (text) => text.split('\n').map((each) => each.trim()).filter(Boolean);

// A number where it is one; else as it stands, for the gateway to say what is wrong with it.
const numeric = (text) => (/^\d{1,9}$/.test(text.trim()) ? Number(text) : text.trim());

export class Mistake extends Error {
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

// values: texts by field; said: what to say of a mistake that only the form can make. Throws a Mistake.
export function settingsOf(values, said) {
  const found = { id: values.id.trim(), ports: { [values.declared.trim() || values.inside.trim()]: numeric(values.inside) } };
  const put = (name, value) => {
    if (value !== '' && !(Array.isArray(value) && !value.length)) found[name] = value;
  };
  put('name', values.name.trim());
  if (values.kind === 'image') {
    found.image = { reference: values.reference.trim() };
    put('command', words(values.command, said));
    if (values.env.trim()) found.env = environment(values.env, said);
    put('replicas', numeric(values.replicas));
    const gpus = { count: numeric(values.gpu_count || '0') };
    if (values.gpu_type.trim()) gpus.type = values.gpu_type.trim();
    found.gpus = gpus;
  } else {
    found.upstream = lines(values.upstream).map((line) => {
      const [node, ...port] = line.split(/\s+/);
      return { node, ports: { [Object.keys(found.ports)[0]]: numeric(port.join(' ')) } };
    });
  }
  if (values.health.trim()) found.health = { path: values.health.trim() };
  put('slots', numeric(values.slots));
  put('path', values.path.trim());
  put('timeout', values.timeout.trim());
  put('keys', lines(values.keys));
  return merged(found, more(values.more, said));
}

// A command line's words; quotes hold some together, as a shell has them.
function words(text, said) {
  const found = [];
  for (const [, double, single, plain] of text.matchAll(/"((?:[^"\\]|\\.)*)"(?!\S)|'([^']*)'(?!\S)|(\S+)/g)) {
    if (plain !== undefined && /["']/.test(plain)) throw new Mistake('command', said.quotes);
    found.push(double !== undefined ? double.replace(/\\(.)/g, '$1') : (single ?? plain));
  }
  return found;
}

function environment(text, said) {
  return Object.fromEntries(
    lines(text).map((line) => {
      const at = line.indexOf('=');
      if (at < 1) throw new Mistake('env', said.env);
      return [line.slice(0, at), line.slice(at + 1)];
    }),
  );
}

function more(text, said) {
  if (!text.trim()) return {};
  let found;
  try {
    found = JSON.parse(text);
  } catch (error) {
    throw new Mistake('more', `${said.json} ${error.message}`);
  }
  if (typeof found !== 'object' || found === null || Array.isArray(found)) throw new Mistake('more', said.json);
  return found;
}

function merged(one, other) {
  const both = { ...one };
  for (const [name, value] of Object.entries(other)) {
    const inner = (each) => typeof each === 'object' && each !== null && !Array.isArray(each);
    both[name] = inner(value) && inner(one[name]) ? merged(one[name], value) : value;
  }
  return both;
}

// The gateway's problems by field; those of settings that no field gives go to `more`, with their paths.
export function byField(problems, { kind, declared }) {
  const found = {};
  const key = declared.trim();
  const inside = !key || (/^\d{1,5}$/.test(key) && key >= 1 && key <= 65535); // nothing is wrong with a port's key
  const unseen = kind === 'image' ? ['upstream'] : ['reference', 'command', 'env', 'replicas', 'gpu_count', 'gpu_type'];
  for (const { path, message } of problems) {
    const under = (each) => path === each || path.startsWith(`${each}.`) || path.startsWith(`${each}[`);
    const given = Object.keys(PATHS).find((name) => under(PATHS[name]) && !unseen.includes(name)) ?? 'more';
    const field = given === 'declared' && inside && path !== 'ports' ? 'inside' : given;
    const told = [PATHS[field], `${PATHS[field]}.reference`].includes(path) ? message : `${path}: ${message}`;
    found[field] = found[field] ? `${found[field]}; ${told}` : path ? told : message;
  }
  return found;
}
