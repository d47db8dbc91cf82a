// The clockwork: asks for the status again and again, draws it, says when nobody
// answers and since when, and tells a screen reader what changed.

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
    state.at = Date.now();
    state.lost = null;
  } catch (e) {
    state.lost = state.lost || { since: state.at || Date.now() };
    state.lost.why = e.name === "TimeoutError" ? `no answer within ${age(patience)}` : e.name === "TypeError" ? "the connection fails" : String(e.message || e);
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
  // A status that takes long, because it is large or the way is, is asked for less often.
  if (!document.hidden) timer = setTimeout(poll, Math.max(every, 4 * (performance.now() - began)));
}

// soon asks now, because something happened; many things at once are one.
let hurried = 0;
function soon() {
  if (hurried || !state.status) return;
  hurried = setTimeout(() => {
    hurried = 0;
    poll();
  }, 150);
}

// askCharts asks for the curves: of all services, and of the open ones with their
// servers.
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
  } catch (e) { /* the status says that nobody answers */ }
}

// render draws what is known, and notes how long that took, for who measures it.
function render() {
  const began = performance.now();
  drawAll();
  document.documentElement.dataset.drawn = (performance.now() - began).toFixed(1);
}

function drawAll() {
  const s = state.status, lost = state.lost;
  hide($("lost"), !lost);
  if (lost) {
    put($("lost"), `NO ANSWER ${s ? `from ${s.director} since ${clock(lost.since, Date.now())}` : `since ${clock(lost.since, Date.now())}`}: ${lost.why}.${s ? " What stands here is how it was then." : ""}`);
    put($("live"), "not live");
  } else if (s) {
    put($("live"), `live, ${clock(s.at, s.at)}`);
  }
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

// announce says in a sentence, for those who do not see the page, what changed.
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
  const news = state.away ? [`${s.director} answers again`] : [];
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
