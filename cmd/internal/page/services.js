// The services with their real servers, weights with reasons, and sparklines. Services in
// trouble come first, and are expanded; one that is only drained is not. A service of
// many servers shows those in trouble and some of the others; the filter, which is in the
// page's address too, and "show all" bring the rest.

const screenful = 50, servicesFirst = 100, openUpTo = 60;
const view = { filter: "", only: false, open: new Map(), all: new Set(), services: servicesFirst, charts: new Map() };

const matches = (text) => text.toLowerCase().includes(view.filter);

// chosen returns the services that match the filters, each with the servers to show.
function chosen(s) {
  const out = [];
  for (const svc of s.virtual_services) {
    const rank = serviceRank(svc), whole = !view.filter || matches(`${svc.name} ${where(svc)}`);
    let servers = svc.real_servers;
    if (!whole) servers = servers.filter((rs) => matches(rs.address));
    if (view.only) servers = servers.filter((rs) => serverRank(rs) < healthy);
    if (!servers.length && !(whole && (!view.only || rank < healthy))) continue;
    out.push({ svc, rank, servers });
  }
  return out.sort((a, b) => Math.min(a.rank, drained) - Math.min(b.rank, drained)); // stable: else as in the file
}

function isOpen(s, c) {
  if (view.open.has(c.svc.name)) return view.open.get(c.svc.name);
  const open = view.servers <= openUpTo || c.rank < drained;
  view.open.set(c.svc.name, open); // expanding or collapsing later would move what is being read
  return open;
}

function renderServices(s) {
  view.servers = s.virtual_services.reduce((n, svc) => n + svc.real_servers.length, 0);
  let all = chosen(s);
  const found = all.length, foundServers = all.reduce((n, c) => n + c.servers.length, 0);
  if (found > view.services) {
    let room = view.services;
    all = all.filter((c) => c.rank < drained || room-- > 0);
  }
  view.opened = all.filter((c) => isOpen(s, c)).map((c) => c.svc.name);
  const narrowed = view.filter || view.only;
  put($("found"), narrowed ? `${counted(found, "service")} of ${s.virtual_services.length}, ${counted(foundServers, "real server")} of ${view.servers}` : `${counted(found, "service")}, ${counted(view.servers, "real server")}`);
  list($("service-list"), all, (c) => c.svc.name, newService, (node, c) => updateService(node, c, s));
  hide($("more-services"), found <= all.length);
  put($("more-services"), `show all ${found} services`);
  put($("unfold"), view.opened.length ? "Collapse all" : "Expand all");
}

let numbered = 0;

// The columns of all services have the same width, so that they align. One with from-N is
// hidden in a window of at most N rem, see page.css.
const columns = [["Real server", "server"], ["Weight", "num weight"], ["Health", "health from-30"], ["Since", "since from-46"], ["Active", "num count"], ["Inactive", "num count from-60"],
  ["New/s", "num count from-60"], ["Active, 10 min", "spark from-68"], ["Why", ""]];
const hiddenBelow = columns.flatMap(([, cls]) => cls.match(/from-\d+/) || []).map((from) => matchMedia(`(max-width: ${from.slice(5)}rem)`));
const columnsShown = () => columns.length - hiddenBelow.filter((m) => m.matches).length;

function newService(c) {
  const id = `service-${++numbered}`;
  const node = make("section", { class: "service", "aria-labelledby": `${id}-name` });
  node.button = make("button", { type: "button", class: "plain", "aria-controls": id, id: `${id}-name` });
  node.where = make("span", { class: "soft" });
  node.state = make("span");
  node.alive = make("span", { class: "soft" });
  node.changed = make("span", { class: "soft changed" });
  node.active = figure();
  node.rate = figure();
  node.traffic = make("div", { class: "traffic soft" });
  node.table = make("table", { id }, make("thead", null, make("tr", null, ...columns.map(([title, cls]) => make("th", { scope: "col", class: cls }, title)))), make("tbody"));
  node.caption = node.table.createCaption();
  node.caption.className = "unseen";
  node.more = make("button", { type: "button", class: "more" });
  node.append(make("div", { class: "top" },
    make("div", { class: "name" }, make("h3", null, node.button), " ", node.where),
    make("div", { class: "state" }, node.state, " ", node.alive, " ", node.changed),
    node.active, node.rate, node.traffic), node.table, node.more);
  const name = c.svc.name;
  node.button.onclick = () => {
    view.open.set(name, node.button.getAttribute("aria-expanded") !== "true");
    render();
    askCharts();
  };
  node.more.onclick = () => {
    view.all.has(name) ? view.all.delete(name) : view.all.add(name);
    render();
  };
  return node;
}

function figure() {
  const node = make("div", { class: "figure" });
  node.append(node.text = make("span"), node.chart = chart(), node.scale = make("span", { class: "scale soft" }));
  return node;
}

function updateService(node, c, s) {
  const svc = c.svc, open = isOpen(s, c);
  set(node, "class", `service ${["broken", "degraded", "degraded", "", ""][c.rank]}`);
  put(node.button, svc.name);
  set(node.button, "aria-expanded", String(open));
  put(node.where, `${where(svc)} ${svc.scheduler}`);
  put(node.state, serviceState(svc));
  tint(node.state, c.rank === broken ? "bad" : svc.panic ? "warn" : "good");
  const serving = svc.real_servers.filter(serves).length;
  const changed = svc.real_servers.reduce((t, rs) => rs.since && Date.parse(rs.since) > Date.parse(t || 0) ? rs.since : t, "");
  put(node.alive, `${serving} of ${svc.real_servers.length} serving, available weight ${svc.weight_alive}, quorum ${svc.quorum}`);
  put(node.changed, changed ? `last change ${clock(changed, s.at)}` : "");
  put(node.active.text, `${number(activeOf(svc))} open`);
  put(node.rate.text, `${number(svc.rates.connections_per_second)} new/s`);
  put(node.traffic, `in ${bytes(svc.rates.bytes_in_per_second)}/s, out ${bytes(svc.rates.bytes_out_per_second)}/s; total ${number(svc.counters.connections)} connections`);
  const kept = view.charts.get(svc.name);
  sparkline(node.active, kept ? kept.active_connections : [], activeOf(svc), `open connections of ${svc.name}`);
  sparkline(node.rate, kept ? kept.connections_per_second : [], svc.rates.connections_per_second, `new connections a second of ${svc.name}`);
  put(node.caption, `real servers of ${svc.name}`);
  hide(node.table, !open);
  hide(node.more, true);
  if (open) renderServers(node, c, s, kept);
}

// sparkline draws a chart with its scale, the largest value. The present value is the last
// point: what was kept is older.
function sparkline(node, kept, now, what) {
  const values = [...kept, now];
  draw(node.chart, values, what);
  const known = values.filter((v) => v >= 0);
  put(node.scale, known.length > 1 ? `max ${number(Math.max(...known))}` : "");
}

// renderServers shows the rows of one service, and the drains of those that left
// the file, and the fallback.
function renderServers(node, c, s, kept) {
  const svc = c.svc, name = svc.name;
  let servers = c.servers;
  if (servers.length > 10) servers = [...servers].sort((a, b) => Math.min(serverRank(a), drained) - Math.min(serverRank(b), drained));
  if (servers.length > screenful) {
    hide(node.more, false);
    if (view.all.has(name)) {
      put(node.more, "show fewer");
    } else {
      let bad = 4 * screenful, good = screenful;
      servers = servers.filter((rs) => serverRank(rs) < healthy ? bad-- > 0 : good-- > 0);
      put(node.more, `show all ${c.servers.length}`);
    }
  }
  const rows = [];
  for (const rs of servers) {
    rows.push({ key: rs.address, address: rs.address, cells: [weight(rs), health(rs), shortClock(rs.draining_since || rs.since, s.at), number(rs.active_connections), number(rs.inactive_connections), number(rs.rates.connections_per_second), why(rs)], kind: kinds[serverRank(rs)], rs });
    if (asked(name, rs.address)) rows.push({ key: `${rs.address} why`, detail: true, rs });
  }
  const f = svc.fallback;
  if (f && f.active && !view.filter) rows.push({ key: "fallback", address: f.address, cells: [f.weight === null ? "–" : String(f.weight), "fallback", clock(f.since, s.at), number(f.active_connections), number(f.inactive_connections), "", "serving while the quorum is lost"], kind: "bad" });
  for (const d of s.ipvs.draining) {
    if (d.service === name && !view.filter) rows.push({ key: `gone ${d.real_server}`, address: d.real_server, cells: ["0", "draining", clock(d.since, s.at), "", "", "", `no longer in the file; ${d.connections_left === null ? "connections not counted yet" : `${counted(d.connections_left, "connection")} left`}; removed by ${clock(d.deadline, s.at)}`], kind: "warn" });
  }
  const curves = new Map(kept && kept.real_servers ? kept.real_servers.map((r) => [r.address, r]) : []);
  list(node.table.tBodies[0], rows, (r) => r.key, (r) => r.detail ? newDetail(name, r.rs.address) : newRow(name, r), (tr, r) => {
    if (r.detail) updateDetail(tr, name, r.rs, curves.get(r.rs.address), s);
    else updateRow(tr, name, r, curves.get(r.address));
  });
}

function newRow(name, r) {
  const tr = make("tr");
  const head = make("th", { scope: "row" });
  if (r.rs) {
    tr.button = make("button", { type: "button", class: "plain" });
    tr.button.onclick = () => toggleWhy(name, r.address);
    head.append(tr.button);
  } else head.append(r.address);
  tr.append(head);
  columns.slice(1).forEach(([, cls]) => tr.append(make("td", { class: cls })));
  tr.children[7].append(tr.chart = chart(), tr.scale = make("span", { class: "scale soft" }));
  return tr;
}

function updateRow(tr, name, r, kept) {
  const cell = tr.children;
  if (tr.button) {
    put(tr.button, r.address);
    set(tr.button, "aria-expanded", String(asked(name, r.address)));
  }
  [1, 2, 3, 4, 5, 6, 8].forEach((i, n) => put(cell[i], r.cells[n]));
  for (const i of [1, 2]) tint(cell[i], r.kind);
  sparkline(tr, kept ? kept.active_connections : [], r.rs ? r.rs.active_connections : -1, `open connections of ${r.address}`);
}

// jump expands a service and scrolls to it.
function jump(name) {
  view.open.set(name, true);
  $("filter").value = "";
  $("only").checked = false;
  setFilter();
  const node = $("service-list").known.get(name);
  if (!node) return;
  node.scrollIntoView({ block: "start" });
  node.button.focus({ preventScroll: true });
}

// The filter is in the page's address, so that a link contains it and it survives a
// reload of the page.
function readFilter() {
  const query = new URLSearchParams(location.search);
  $("filter").value = query.get("filter") || "";
  view.filter = $("filter").value.trim().toLowerCase();
  $("only").checked = view.only = query.has("unhealthy");
}

function setFilter() {
  view.filter = $("filter").value.trim().toLowerCase();
  view.only = $("only").checked;
  const query = new URLSearchParams();
  if (view.filter) query.set("filter", view.filter);
  if (view.only) query.set("unhealthy", "1");
  history.replaceState(null, "", `${location.pathname}${query.size ? `?${query}` : ""}`);
  render();
}

readFilter();
$("filter").oninput = setFilter;
$("only").onchange = setFilter;
$("unfold").onclick = () => {
  const open = !view.opened.length;
  for (const svc of state.status ? state.status.virtual_services : []) view.open.set(svc.name, open);
  render();
  askCharts();
};
for (const m of hiddenBelow) m.addEventListener("change", render); // the width of the expanded rows
$("more-services").onclick = () => {
  view.services = Infinity;
  render();
};
$("more-problems").onclick = () => {
  problemsShown = Infinity;
  render();
};
