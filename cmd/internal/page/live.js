// The loop: polls the status, draws it, shows since when the director does not reply, and
// reports changes to screen readers.

const state = { status: null, lost: null, said: null };
const every = 2000, patience = 8000;
let timer = 0, asking = false, chartsAt = 0, eventsAt = 0;

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(patience) });
  if (!answer.ok) throw new Error(`${answer.status} ${firstLine((await answer.text()).trim()).slice(0, 200)}`);
  return answer.json();
}

async function poll() {
  if (asking) return;
  asking = true;
  clearTimeout(timer);
  const began = performance.now();
  try {
    state.status = await ask("api/v1/status");
    state.lost = null;
  } catch (e) {
    state.lost = state.lost || { why: "" };
    state.lost.why = e.name === "TimeoutError" ? `no reply within ${age(patience)}` : e.name === "TypeError" ? "connection failed" : String(e.message || e);
  }
  asking = false;
  render();
  if (!state.lost) {
    const now = Date.now();
    if (now - chartsAt >= 10000) askCharts();
    if (now - eventsAt >= 10000) {
      eventsAt = now;
      askEvents();
    }
    askAllWhy();
  }
  // A slow status, because of its size or of the network, is requested less often.
  if (!document.hidden) timer = setTimeout(poll, Math.max(every, 4 * (performance.now() - began)));
}

// soon requests the status at once after an event; several events cause one request.
let hurried = 0;
function soon() {
  if (hurried || !state.status) return;
  hurried = setTimeout(() => {
    hurried = 0;
    poll();
  }, 150);
}

// askCharts requests the curves: of all services, and of expanded ones with their servers.
async function askCharts() {
  chartsAt = Date.now();
  const names = (view.opened || []).slice(0, 20), total = state.status.virtual_services.length;
  try {
    const answers = [];
    if (names.length < total) answers.push(await ask("api/v1/charts"));
    if (names.length) answers.push(await ask(`api/v1/charts?${new URLSearchParams(names.map((n) => ["service", n]))}`));
    view.charts = new Map();
    for (const a of answers) for (const svc of a.virtual_services) view.charts.set(svc.name, svc);
    render();
  } catch (e) { /* poll reports it */ }
}

// render draws what is known, and records how long that took, for measurements. A row
// that moves keeps the focus.
function render() {
  const began = performance.now(), focus = document.activeElement;
  drawAll();
  if (focus !== document.activeElement && focus.isConnected) focus.focus({ preventScroll: true });
  document.documentElement.dataset.drawn = (performance.now() - began).toFixed(1);
}

function drawAll() {
  const s = state.status, lost = state.lost;
  hide($("lost"), !lost);
  if (lost) {
    put($("lost"), s ? `NO ANSWER from ${s.director} since ${clock(s.at, s.at)}: ${lost.why}. Showing the last known state.` : `NO ANSWER: ${lost.why}.`);
    put($("live"), s ? `last update ${clock(s.at, s.at)} ${zone(s.at)}` : "not connected");
  } else if (s) {
    put($("live"), `live, ${clock(s.at, s.at)} ${zone(s.at)}`);
  }
  document.body.classList.toggle("stale", Boolean(lost));
  tint($("live"), lost ? "bad" : "");
  const n = s ? s.problems.length : 0;
  put(document.querySelector("title"), `${lost ? "NO ANSWER " : n ? `(${n}) ` : ""}${s ? `${s.director} · ` : ""}lvsd`);
  if (!s) return;
  renderNow(s);
  renderServices(s);
  renderEvents(s);
  renderPair(s);
  announce(s);
}

// announce reports changes in a sentence to screen readers.
function announce(s) {
  if (state.lost) {
    state.away = true; // which the alert says
    return;
  }
  const now = new Map();
  for (const e of s.vrrp) now.set(`master of ${e.name}`, masters(s, e)[0]);
  for (const svc of s.virtual_services) {
    const short = svc.real_servers.filter((rs) => !serves(rs)).length;
    now.set(svc.name, `${serviceState(svc)}${short ? `, ${counted(short, "server")} without weight` : ""}`);
  }
  const said = state.said;
  state.said = now;
  if (!said) return;
  const news = state.away ? [`${s.director} replies again`] : [];
  state.away = false;
  for (const [what, is] of now) if (said.has(what) && said.get(what) !== is) news.push(`${what}: ${is}`);
  if (news.length) put($("announce"), news.slice(0, 5).join(". ") + (news.length > 5 ? `. And ${news.length - 5} more changes.` : "."));
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else poll();
});
addEventListener("online", poll);
poll().then(follow);
