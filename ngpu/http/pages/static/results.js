// What of a worker's answer can be looked at.

const STARTS = { iVBORw0KGgo: "image/png", "/9j/": "image/jpeg", R0lGOD: "image/gif", UklGR: "image/webp" };
const MOST = 8; // pictures that are shown
const SHOWN = 160; // characters of a long text

/** The `data:` addresses of all pictures in a value. */
export function pictures(value, found = []) {
  if (found.length >= MOST) return found;
  if (typeof value === "string") {
    const base64 = value.replace(/^data:image\/[a-z+.-]+;base64,/, "");
    const start = Object.keys(STARTS).find((each) => base64.startsWith(each));
    if (start && /^[A-Za-z0-9+/=\s]+$/.test(base64)) found.push(`data:${STARTS[start]};base64,${base64}`);
    else if (/^[[{]/.test(value)) pictures(parsed(value), found);
  } else if (value !== null && typeof value === "object") {
    for (const each of Object.values(value)) pictures(each, found);
  }
  return found;
}

/** http(s) addresses that workers give as their results. */
export function links(value) {
  const url = value !== null && typeof value === "object" ? value.result_url : null;
  return typeof url === "string" && /^https?:\/\//.test(url) ? [url] : [];
}

/** A value as JSON that can be read. */
export function readable(value, characters) {
  const cut = (_, each) =>
    typeof each === "string" && each.length > 2 * SHOWN ? each.slice(0, SHOWN) + characters(each.length) : each;
  return JSON.stringify(value, cut, 2);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
