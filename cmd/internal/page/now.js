// The summary: who has the virtual IPs, the problems, the directors and VRRP.

let problemsShown = 6;

// masters returns the names of the directors that are master of an instance: normally one.
function masters(s, e) {
  const names = e.state === "master" ? [s.director] : [];
  let heard = e.state !== "master" && e.master;
  for (const p of s.peers) {
    const other = p.vrrp.find((o) => o.name === e.name);
    const address = p.address.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
    if (p.up && other && other.state === "master" || heard && address === e.master) {
      names.push(p.director);
      heard = "";
    }
  }
  if (heard && !names.length) names.push(`${e.master}, priority ${e.master_priority}`);
  if (!names.length) return ["NO MASTER", "bad"];
  return [names.join(" AND "), names.length === 1 ? "good" : "bad"];
}

const someOf = (all, most) => all.slice(0, most).join(" ") + (all.length > most ? ` and ${all.length - most} more` : "");

// vips returns the virtual addresses of an instance, as many as fit.
const vips = (e, most) => someOf(e.virtual_addresses.map((a) => a.replace(/\/(32|128)$/, "")), most);

// announced returns how many directors announce each announcement.
const announced = (s) => (s.announces || []).map((a) => {
  const n = a.directors.length + (a.announced ? 1 : 0), of = s.peers.length + 1;
  return [`${a.name} ${someOf(a.addresses.map((v) => v.address), 3)}: announced by ${n} of ${counted(of, "director")}${a.kept ? ", KEPT here" : a.announced ? "" : ", not by this one"}`, !n || a.kept ? "bad" : n === of ? "good" : "warn"];
});

function renderNow(s) {
  put($("director"), s.director);
  const byMaster = new Map();
  for (const e of s.vrrp) {
    const [name, kind] = masters(s, e);
    const here = name === s.director ? `${name} (this director)` : name;
    if (!byMaster.has(name)) byMaster.set(name, { here, kind, instances: [] });
    byMaster.get(name).instances.push(`${e.name} ${vips(e, 3)}`.trim() + (e.contested ? " (CONTESTED)" : ""));
  }
  const served = [...[...byMaster.values()].map((m) => [`${m.instances.length > 6 ? counted(m.instances.length, "VRRP instance") : m.instances.join(", ")}: ${m.here}`, m.instances.some((n) => n.endsWith("(CONTESTED)")) ? "bad" : m.kind]), ...announced(s)];
  phrases($("now-master"), served.length ? served : [["no VRRP instances or announcements configured", ""]]);
  phrases($("now-directors"), [directorState(s), ...s.peers.map((p) => [`${p.director} ${peerState(p, s)}`, peerKind(p)]), ...s.peers.length ? [] : [["peer status unavailable ([peers] disabled)", ""]]]);
  renderShort(s);
  renderTraffic(s);
  list($("problems"), s.problem_details.slice(0, problemsShown), (p, i) => i, newProblem, updateProblem);
  const more = s.problem_details.length - problemsShown;
  hide($("more-problems"), more <= 0);
  put($("more-problems"), `and ${counted(more, "more problem")}`);
}

function newProblem() {
  const li = make("li");
  li.append(li.text = make("span", { class: "text" }), li.details = make("details", null, li.summary = make("summary"), li.members = make("ul")));
  return li;
}

function updateProblem(li, p) {
  put(li.text, firstLine(p.text));
  set(li, "class", p.severity);
  const members = p.details && p.details.length > 1 ? p.details : [];
  hide(li.details, !members.length);
  put(li.summary, counted(members.length, "real server"));
  list(li.members, members.slice(0, 200), (m, i) => i, () => make("li"), put);
}

// directorState is the state of this director alone: a real server or another director
// that is down is not its fault.
function directorState(s) {
  const own = s.problem_details.filter((p) => !p.service && !p.director).length;
  return [`${s.director} ${own ? counted(own, "problem") : "OK"}${s.waits ? `, ${s.waits}` : ""}`, own ? "bad" : "good"];
}

const peerKind = (p) => p.up && p.config_matches && p.version_matches && p.director_problem_count === 0 ? "good" : "bad";

function peerState(p, s) {
  if (!p.up) return `UNREACHABLE since ${clock(p.since, s.at)}${p.error ? `: ${firstLine(p.error)}` : ""}`;
  const words = [p.director_problem_count ? counted(p.director_problem_count, "problem") : "OK"];
  if (!p.config_matches) words.push("different configuration");
  if (!p.version_matches) words.push("different version");
  if (p.waits) words.push(p.waits);
  return words.join(", ");
}

// renderShort names the services in trouble; each is a link to it.
function renderShort(s) {
  const short = s.virtual_services.filter((svc) => serviceRank(svc) < drained).sort((a, b) => serviceRank(a) - serviceRank(b));
  const drains = s.virtual_services.reduce((n, svc) => n + svc.real_servers.filter((rs) => serverRank(rs) === drained).length, 0);
  const total = s.virtual_services.length;
  const items = [{ key: " ", text: total ? `${total - short.length} of ${total} services OK` : "no services configured", kind: short.length || !total ? "" : "good" }];
  for (const svc of short.slice(0, 8)) {
    const n = svc.real_servers.filter(serves).length;
    items.push({ key: svc.name, text: `${svc.name}: ${n} of ${svc.real_servers.length} serving${svc.up ? "" : ", QUORUM LOST"}`, kind: kinds[serviceRank(svc)], jump: svc.name });
  }
  if (short.length > 8) items.push({ key: "…", text: `and ${short.length - 8} more`, kind: "" });
  if (drains) items.push({ key: "drains", text: `${counted(drains, "real server")} drained`, kind: "" });
  list($("now-services"), items, (i) => i.key + (i.jump ? "+" : ""), (i) => i.jump ? make("button", { type: "button", class: "plain" }) : make("span"), (node, i) => {
    put(node, i.text);
    tint(node, i.kind);
    node.onclick = i.jump ? () => jump(i.jump) : null;
  });
}

// renderTraffic shows the sums over all services: now, and since their counters were reset.
function renderTraffic(s) {
  const sum = (of) => s.virtual_services.reduce((n, svc) => n + of(svc), 0);
  phrases($("now-traffic"), [
    [`${number(sum(activeOf))} open connections`, ""], [`${number(sum((v) => v.rates.connections_per_second))} new/s`, ""],
    [`in ${bytes(sum((v) => v.rates.bytes_in_per_second))}/s`, ""], [`out ${bytes(sum((v) => v.rates.bytes_out_per_second))}/s`, ""],
    [`total ${number(sum((v) => v.counters.connections))} connections, ${bytes(sum((v) => v.counters.bytes_in + v.counters.bytes_out))}`, "soft"]]);
}

function renderPair(s) {
  const own = directorState(s);
  const rows = [{ director: s.director, here: true, state: [own[0].slice(s.director.length + 1), own[1]], hash: s.config.hash, version: s.version, started: s.started, same: true, sameVersion: true }];
  for (const p of s.peers) {
    const c = p.connections;
    rows.push({ director: p.director, old: !p.up, link: p.http_listen, state: [peerState(p, s), peerKind(p)], hash: p.config_hash || "", version: p.version || "", started: p.started,
      same: p.config_matches || !p.up, sameVersion: p.version_matches || !p.up, connections: c ? `${number(c.own + c.synced)}, ${number(c.synced)} synced` : "" });
  }
  list($("directors").tBodies[0], rows, (r) => r.director + (r.link || ""), (r) => {
    const name = r.link ? make("a", { href: `${location.protocol}//${r.link}/` }, r.director) : r.here ? `${r.director} (here)` : r.director;
    const tr = make("tr", null, make("th", { scope: "row" }, name));
    for (let i = 0; i < 5; i++) tr.append(make("td"));
    return tr;
  }, (tr, r) => {
    [r.state[0], r.hash.slice(0, 8), r.version, shortClock(r.started, s.at), r.connections || ""].forEach((text, i) => put(tr.children[i + 1], text));
    tint(tr.children[1], r.state[1]);
    const known = r.old ? "soft" : ""; // from its last reply
    tint(tr.children[2], r.same ? known : "bad");
    tint(tr.children[3], r.sameVersion ? known : "bad");
    for (const i of [4, 5]) tint(tr.children[i], known);
  });
  $("directors").classList.toggle("without-connections", rows.every((r) => !r.connections));
  renderElections(s);
  renderExtras(s);
  put($("config"), `configuration ${s.config.file}, ${s.config.hash.slice(0, 8)}, loaded ${clock(s.config.loaded_at, s.at)}; lvsd ${s.version} started ${clock(s.started, s.at)}; all times are those of ${s.director}, ${zone(s.at)}`);
}

function renderElections(s) {
  hide($("elections"), !s.vrrp.length);
  const heads = ["VRRP", "Virtual IPs", "Master", `${s.director} (here)`, ...s.peers.map((p) => p.director), "Since"];
  list($("elections").tHead.rows[0], heads, (h, i) => i, () => make("th", { scope: "col" }), put);
  list($("elections").tBodies[0], s.vrrp, (e) => e.name, () => make("tr"), (tr, e) => {
    const missing = e.state === "master" && !e.holding;
    const cells = [[e.name, ""], [vips(e, 4), ""], masters(s, e), [`${e.state}, ${e.priority}${missing ? ", ADDRESSES MISSING" : ""}`, e.state === "fault" || missing ? "bad" : ""]];
    for (const p of s.peers) {
      const other = p.vrrp.find((o) => o.name === e.name);
      cells.push(!p.up ? ["?", "bad"] : !other ? ["not configured", "bad"] : [`${other.state}, ${other.priority}${other.held ? ", standby" : ""}`, other.state === "fault" ? "bad" : ""]);
    }
    cells.push([sinceWords(s, e), e.alarm || e.state === "fault" ? "bad" : ""]);
    list(tr, cells, (c, i) => i, () => tr.children.length ? make("td") : make("th", { scope: "row" }), (td, [text, kind]) => {
      put(td, text);
      tint(td, kind);
    });
  });
}

function sinceWords(s, e) {
  const words = [clock(e.since, s.at)];
  if (e.held) words.push(e.held_until ? `standby until ${clock(e.held_until, s.at)}` : "standby (until lvsd handover --end)");
  else if (e.waits) words.push(e.waits);
  for (const t of e.tracked || []) words.push(t.fault ? `${t.what}: fault` : `${t.what}: ${t.delta > 0 ? "+" : ""}${t.delta}`);
  return words.join(", ") + (e.detail ? `: ${firstLine(e.detail)}` : "");
}

// renderExtras shows announcements, the guard and the synchronisation.
function renderExtras(s) {
  const all = [], role = (d) => d ? `on ${d.interface}, id ${d.id}` : "off";
  for (const a of s.announces || []) {
    const state = a.kept ? "KEPT" : a.announced ? "announced" : "not announced", others = a.directors.length ? `, also by ${a.directors.join(", ")}` : "";
    all.push([`Announce ${a.name}: ${state} since ${clock(a.since, s.at)}${others}: ${a.why}`, a.kept || a.routing_daemon === false || !a.announced && a.reason !== "start" && a.reason !== "standby" ? "bad" : ""]);
  }
  if (s.guard) {
    all.push([`Guard ${s.guard.state} since ${clock(s.guard.since, s.at)}${s.guard.why ? `: ${s.guard.why}` : ""}`, s.guard.active ? "bad" : ""]);
    for (const w of s.guard.witnesses) all.push([`Witness ${w.address} ${!w.last_probe ? "not pinged yet" : w.answers ? "replies" : "DOES NOT REPLY"}`, w.answers || !w.last_probe ? "" : "warn"]);
  }
  const sync = s.ipvs.sync;
  if (sync) all.push([`Connection synchronisation${sync.foreign ? " (by another process)" : ""}: sender ${role(sync.master)}; receiver ${role(sync.backup)}${sync.error ? `: ${sync.error}` : ""}`, sync.error ? "bad" : ""]);
  list($("extras"), all, (x, i) => i, () => make("li"), (li, [text, kind]) => {
    put(li, text);
    tint(li, kind);
  });
}
