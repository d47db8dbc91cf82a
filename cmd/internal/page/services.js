// The services with their real servers, their weights with reasons, and the last
// minutes as small curves. A service of many servers shows those that are not as
// they should be and some of the others; the filter and "show all" bring the rest.

const screenful = 50, servicesFirst = 100, openUpTo = 60;
const view = { filter: "", only: false, open: new Map(), all: new Set(), services: servicesFirst, charts: new Map() };

const matches = (text) => text.toLowerCase().includes(view.filter);

// chosen is what filter and tick leave of the services: each with the servers to show.
function chosen(s) {
  const out = [];
  for (const svc of s.virtual_services) {
    const rank = serviceRank(svc), whole = !view.filter || matches(`${svc.name} ${where(svc)}`);
    let servers = svc.real_servers;
    if (!whole) servers = servers.filter((rs) => matches(rs.address));
    if (view.only) servers = servers.filter((rs) => serverRank(rs) < asItShould);
    if (!servers.length && !(whole && (!view.only || rank < asItShould))) continue;
    out.push({ svc, rank, servers });
  }
  return out;
}

function isOpen(s, c) {
  if (view.open.has(c.svc.name)) return view.open.get(c.svc.name);
  const open = view.servers <= openUpTo || c.rank < asItShould;
  view.open.set(c.svc.name, open); // what opens or closes by itself would move under the reader's eyes
  return open;
}

function renderServices(s) {
  view.servers = s.virtual_services.reduce((n, svc) => n + svc.real_servers.length, 0);
  let all = chosen(s);
  const found = all.length, foundServers = all.reduce((n, c) => n + c.servers.length, 0);
  if (found > view.services) {
    let room = view.services;
    all = all.filter((c) => c.rank < asItShould || room-- > 0);
  }
  view.opened = all.filter((c) => isOpen(s, c)).map((c) => c.svc.name);
  const narrowed = view.filter || view.only;
  put($("found"), narrowed ? `${counted(found, "service")} of ${s.virtual_services.length}, ${counted(foundServers, "real server")} of ${view.servers}` : `${counted(found, "service")}, ${counted(view.servers, "real server")}`);
  list($("service-list"), all, (c) => c.svc.name, newService, (node, c) => updateService(node, c, s));
  hide($("more-services"), found <= all.length);
  put($("more-services"), `show all ${found} services`);
  put($("unfold"), view.opened.length ? "close all" : "open all");
}

let numbered = 0;

function newService(c) {
  const id = `service-${++numbered}`;
  const node = make("section", { class: "service", "aria-labelledby": `${id}-name` });
  node.button = make("button", { type: "button", class: "plain", "aria-controls": id, id: `${id}-name` });
  node.where = make("span", { class: "soft" });
  node.state = make("span");
  node.alive = make("span", { class: "soft" });
  node.active = figure(node);
  node.rate = figure(node);
  node.table = make("table", { id }, make("thead", null, make("tr", null,
    ...["Real server", "Weight", "Health", "Active", "Inactive", "Minutes", "Why"].map((h, i) => make("th", { scope: "col", class: ["", "num", "roomy-only", "num", "num wide-only", "wide-only", ""][i] }, h)))), make("tbody"));
  node.caption = node.table.createCaption();
  node.caption.className = "unseen";
  node.more = make("button", { type: "button", class: "more" });
  node.append(make("div", { class: "top" },
    make("div", { class: "name" }, make("h3", null, node.button), " ", node.where),
    make("div", { class: "state" }, node.state, " ", node.alive),
    node.active, node.rate), node.table, node.more);
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
  node.text = make("span");
  node.chart = chart();
  node.append(node.text, node.chart);
  return node;
}

function updateService(node, c, s) {
  const svc = c.svc, open = isOpen(s, c);
  set(node, "class", `service ${["broken", "doubtful", "doubtful", "", ""][c.rank]}`);
  put(node.button, svc.name);
  set(node.button, "aria-expanded", String(open));
  put(node.where, `${where(svc)} ${svc.scheduler}`);
  put(node.state, serviceState(svc));
  tint(node.state, c.rank === broken ? "bad" : svc.panic ? "warn" : "good");
  const serving = svc.real_servers.filter(serves).length;
  put(node.alive, `${serving} of ${svc.real_servers.length} serve, weight ${svc.weight_alive}, quorum ${svc.quorum}`);
  const active = svc.real_servers.reduce((n, rs) => n + rs.active_connections, 0);
  put(node.active.text, `${number(active)} open`);
  const kept = view.charts.get(svc.name), rates = kept ? kept.connections_per_second : [];
  const rate = rates.length ? rates[rates.length - 1] : -1;
  put(node.rate.text, rate < 0 ? "– /s" : `${number(rate)} /s`);
  draw(node.active.chart, kept ? kept.active_connections : [], `open connections of ${svc.name}`);
  draw(node.rate.chart, rates, `new connections a second of ${svc.name}`);
  put(node.caption, `real servers of ${svc.name}`);
  hide(node.table, !open);
  hide(node.more, true);
  if (open) renderServers(node, c, s, kept);
}

// renderServers shows the rows of one service, and the drains of those that left
// the file, and the fallback.
function renderServers(node, c, s, kept) {
  const svc = c.svc, name = svc.name;
  let servers = c.servers;
  if (servers.length > screenful) {
    hide(node.more, false);
    if (view.all.has(name)) {
      put(node.more, "show fewer");
    } else {
      let bad = 4 * screenful, good = screenful;
      servers = servers.filter((rs) => serverRank(rs) < asItShould ? bad-- > 0 : good-- > 0);
      put(node.more, `show all ${c.servers.length}`);
    }
  }
  const rows = [];
  for (const rs of servers) {
    rows.push({ key: rs.address, address: rs.address, cells: [weight(rs), health(rs), number(rs.active_connections), number(rs.inactive_connections), why(rs)], kind: kinds[serverRank(rs)], rs });
    if (asked(name, rs.address)) rows.push({ key: `${rs.address} why`, detail: true, rs });
  }
  const f = svc.fallback;
  if (f && f.active && !view.filter) rows.push({ key: "fallback", address: f.address, cells: [f.weight === null ? "–" : String(f.weight), "fallback", number(f.active_connections), number(f.inactive_connections), `serves since ${clock(f.since, s.at)}`], kind: "bad" });
  for (const d of s.ipvs.draining) {
    if (d.service === name && !view.filter) rows.push({ key: `gone ${d.real_server}`, address: d.real_server, cells: ["0", "draining", "", "", `left the file, ${d.connections_left === null ? "its connections" : counted(d.connections_left, "connection")} left, removed at ${clock(d.deadline, s.at)} at the latest`], kind: "warn" });
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
  tr.chart = chart();
  tr.append(head, make("td", { class: "num" }), make("td", { class: "roomy-only" }), make("td", { class: "num" }), make("td", { class: "num wide-only" }), make("td", { class: "chart wide-only" }, tr.chart), make("td"));
  return tr;
}

function updateRow(tr, name, r, kept) {
  const cell = tr.children;
  if (tr.button) {
    put(tr.button, r.address);
    set(tr.button, "aria-expanded", String(asked(name, r.address)));
  }
  [1, 2, 3, 4, 6].forEach((i, n) => put(cell[i], r.cells[n]));
  for (const i of [1, 2]) tint(cell[i], r.kind);
  draw(tr.chart, kept ? kept.active_connections : [], `open connections of ${r.address}`);
}

// jump opens a service and goes there.
function jump(name) {
  view.open.set(name, true);
  view.filter = $("filter").value = "";
  render();
  const node = $("service-list").known.get(name);
  if (!node) return;
  node.scrollIntoView({ block: "start" });
  node.button.focus({ preventScroll: true });
}

$("filter").oninput = () => {
  view.filter = $("filter").value.trim().toLowerCase();
  render();
};
$("only").onchange = () => {
  view.only = $("only").checked;
  render();
};
$("unfold").onclick = () => {
  const open = !view.opened.length;
  for (const svc of state.status ? state.status.virtual_services : []) view.open.set(svc.name, open);
  render();
  askCharts();
};
$("more-services").onclick = () => {
  view.services = Infinity;
  render();
};
$("more-problems").onclick = () => {
  problemsShown = Infinity;
  render();
};
