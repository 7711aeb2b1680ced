// The reference: redoc with our document, whose addresses become those of this gateway.

const name = location.pathname === "/docs/admin" ? "openapi-admin" : "openapi";
const place = document.getElementById("reference");

const DARK = {
  colors: {
    primary: { main: "#7ab8ff" },
    success: { main: "#5fd38a" },
    error: { main: "#ff8a80" },
    text: { primary: "#e3e7ec", secondary: "#b3bcc8" },
    border: { dark: "#3a4453", light: "#2a3240" },
    responses: {
      success: { color: "#5fd38a", backgroundColor: "#15281d", tabTextColor: "#5fd38a" },
      error: { color: "#ff8a80", backgroundColor: "#2c1a1b", tabTextColor: "#ff8a80" },
      info: { color: "#7ab8ff", backgroundColor: "#16222f", tabTextColor: "#7ab8ff" },
      redirect: { color: "#ffd479", backgroundColor: "#2b2415", tabTextColor: "#ffd479" },
    },
  },
  schema: { nestedBackground: "#1a2029", linesColor: "#4a5668", typeNameColor: "#b3bcc8", typeTitleColor: "#b3bcc8" },
  typography: { code: { color: "#ffb3a7", backgroundColor: "#222a35" }, links: { color: "#7ab8ff" } },
  sidebar: { backgroundColor: "#161b22", textColor: "#d5dbe3" },
  rightPanel: {
    backgroundColor: "#0d1117",
    textColor: "#e3e7ec",
    servers: { overlay: { backgroundColor: "#1a2029", textColor: "#e3e7ec" }, url: { backgroundColor: "#0d1117" } },
  },
  codeBlock: { backgroundColor: "#060a0f" },
};

const LIGHT = {
  colors: { primary: { main: "#1d5fa8" } },
  rightPanel: { backgroundColor: "#1d2733" },
  codeBlock: { backgroundColor: "#111922" },
};

function tell(text) {
  place.replaceChildren(Object.assign(document.createElement("p"), { className: "notice", textContent: text }));
}

async function show() {
  for (const link of document.querySelectorAll(".bar a")) {
    if (link.classList.contains("file")) {
      link.href = link.href.replace("openapi", name);
      link.textContent = link.textContent.replace("openapi", name);
    } else if (link.pathname === location.pathname) {
      link.setAttribute("aria-current", "page");
    }
  }
  const reply = await fetch(`/${name}.json`);
  if (!reply.ok) throw new Error(`HTTP ${reply.status}`);
  const text = (await reply.text()).replaceAll("http://127.0.0.1:8080", location.origin);
  const options = {
    disableTelemetry: true,
    expandResponses: "200",
    hideDownloadButtons: true,
    nativeScrollbars: true,
    requiredPropsFirst: true,
    theme: matchMedia("(prefers-color-scheme: dark)").matches ? DARK : LIGHT,
  };
  globalThis.Redoc.init(JSON.parse(text), options, place, (error) => error && tell(String(error)));
}

show().catch((error) => tell(`The document cannot be shown: ${error.message}`));
