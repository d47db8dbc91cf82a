// What somebody must know before all else, and how the directors stand.

let problemsShown = 6;

// masters names the directors that are master of an election: one, when all is well.
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
  if (!names.length) return ["NONE KNOWN", "bad"];
  return [names.join(" AND "), names.length === 1 ? "good" : "bad"];
}

function renderNow(s) {
  put($("director"), s.director);
  const byMaster = new Map();
  for (const e of s.vrrp) {
    const [name, kind] = masters(s, e);
    const here = name === s.director ? `${name} (this director)` : name;
    if (!byMaster.has(name)) byMaster.set(name, { here, kind, elections: [] });
    byMaster.get(name).elections.push(e.contested ? `${e.name} (CONTESTED)` : e.name);
  }
  phrases($("now-master"), byMaster.size
    ? [...byMaster.values()].map((m) => [`${m.elections.length > 6 ? counted(m.elections.length, "election") : m.elections.join(", ")}: ${m.here}`, m.elections.some((n) => n.endsWith(")")) ? "bad" : m.kind])
    : [["there are no elections", ""]]);
  phrases($("now-directors"), directorWords(s));
  renderShort(s);
  list($("problems"), s.problems.slice(0, problemsShown), (p, i) => i, () => make("li"), (li, p) => put(li, firstLine(p)));
  const more = s.problems.length - problemsShown;
  hide($("more-problems"), more <= 0);
  put($("more-problems"), `and ${counted(more, "more problem")}`);
}

// directorWords says of each director whether it is well.
function directorWords(s) {
  const own = s.problems.length ? [`${s.director} ${counted(s.problems.length, "problem")}`, "bad"] : [`${s.director} well`, "good"];
  if (s.waits) own[0] += `, waits: ${s.waits}`;
  const all = [own];
  for (const p of s.peers) all.push([`${p.director} ${peerState(p, s)}`, peerWell(p) ? "good" : "bad"]);
  if (!s.peers.length) all.push(["of others nothing is known: [peers] is off", ""]);
  return all;
}

const peerWell = (p) => p.up && p.config_matches && p.version_matches && p.problem_count === 0;

function peerState(p, s) {
  if (!p.up) return `DOES NOT ANSWER since ${clock(p.since, s.at)}${p.error ? `: ${firstLine(p.error)}` : ""}`;
  const words = [p.problem_count ? counted(p.problem_count, "problem") : "well"];
  if (!p.config_matches) words.push("another configuration");
  if (!p.version_matches) words.push("another version");
  if (p.waits) words.push(`waits: ${p.waits}`);
  return words.join(", ");
}

// renderShort names the services that are short of servers; each is a way to it.
function renderShort(s) {
  const short = s.virtual_services.filter((svc) => serviceRank(svc) < onPurpose).sort((a, b) => serviceRank(a) - serviceRank(b));
  const drains = s.virtual_services.reduce((n, svc) => n + svc.real_servers.filter((rs) => serverRank(rs) === onPurpose).length, 0);
  const total = s.virtual_services.length;
  const items = [{ key: " ", text: short.length ? `${short.length} of ${total} short of servers:` : total ? `all ${total} have their servers` : "there are none", kind: short.length ? "" : "good" }];
  for (const svc of short.slice(0, 8)) {
    const n = svc.real_servers.filter(serves).length;
    items.push({ key: svc.name, text: `${svc.name} ${n} of ${svc.real_servers.length}${svc.up ? "" : ", QUORUM LOST"}`, kind: kinds[serviceRank(svc)], jump: svc.name });
  }
  if (short.length > 8) items.push({ key: "…", text: `and ${short.length - 8} more`, kind: "" });
  if (drains) items.push({ key: "drains", text: `${counted(drains, "server")} drained on purpose`, kind: "" });
  list($("now-services"), items, (i) => i.key + (i.jump ? "+" : ""), (i) => i.jump ? make("button", { type: "button", class: "plain" }) : make("span"), (node, i) => {
    put(node, i.text);
    tint(node, i.kind);
    node.onclick = i.jump ? () => jump(i.jump) : null;
  });
}

function renderPair(s) {
  const rows = [{ director: `${s.director} (here)`, state: directorWords(s)[0], hash: s.config.hash, version: s.version, started: s.started, same: true, sameVersion: true }];
  for (const p of s.peers) {
    const c = p.connections;
    rows.push({ director: p.director, state: [peerState(p, s), peerWell(p) ? "good" : "bad"], hash: p.config_hash || "", version: p.version || "", started: p.started,
      same: p.config_matches || !p.up, sameVersion: p.version_matches || !p.up, connections: c ? `${c.own + c.synced}, ${c.synced} synced` : "" });
  }
  list($("directors").tBodies[0], rows, (r) => r.director, () => {
    const tr = make("tr", null, make("th", { scope: "row" }));
    for (let i = 0; i < 5; i++) tr.append(make("td"));
    return tr;
  }, (tr, r) => {
    [r.director, r.state[0], r.hash.slice(0, 8), r.version, clock(r.started, s.at), r.connections || ""].forEach((text, i) => put(tr.children[i], text));
    tint(tr.children[1], r.state[1]);
    tint(tr.children[2], r.same ? "" : "bad");
    tint(tr.children[3], r.sameVersion ? "" : "bad");
  });
  renderElections(s);
  renderExtras(s);
  put($("config"), `configuration ${s.config.file}, ${s.config.hash.slice(0, 8)}, loaded ${clock(s.config.loaded_at, s.at)}; lvsd ${s.version} runs since ${clock(s.started, s.at)}`);
}

function renderElections(s) {
  hide($("elections"), !s.vrrp.length);
  const heads = ["Election", "Master", `${s.director} (here)`, ...s.peers.map((p) => p.director), "Addresses here", "Since"];
  list($("elections").tHead.rows[0], heads, (h, i) => i, () => make("th", { scope: "col" }), put);
  list($("elections").tBodies[0], s.vrrp, (e) => e.name, () => make("tr"), (tr, e) => {
    const cells = [[e.name, ""], masters(s, e), [`${e.state}, ${e.priority}`, e.state === "fault" ? "bad" : ""]];
    for (const p of s.peers) {
      const other = p.vrrp.find((o) => o.name === e.name);
      cells.push(!p.up ? ["?", "bad"] : !other ? ["not there", "bad"] : [`${other.state}, ${other.priority}${other.held ? ", stays away" : ""}`, other.state === "fault" ? "bad" : ""]);
    }
    cells.push([e.holding ? e.addresses.slice(0, 4).join(" ") + (e.addresses.length > 4 ? ` and ${e.addresses.length - 4} more` : "") : "–", ""]);
    cells.push([sinceWords(s, e), e.alarm || e.state === "fault" ? "bad" : ""]);
    list(tr, cells, (c, i) => i, () => tr.children.length ? make("td") : make("th", { scope: "row" }), (td, [text, kind]) => {
      put(td, text);
      tint(td, kind);
    });
  });
}

function sinceWords(s, e) {
  const words = [clock(e.since, s.at)];
  if (e.held) words.push(e.held_until ? `stays away until ${clock(e.held_until, s.at)}` : "stays away until lvsd handover --end");
  else if (e.waits) words.push(e.waits);
  for (const t of e.tracked || []) words.push(t.fault ? `${t.what}: fault` : `${t.what}: ${t.delta > 0 ? "+" : ""}${t.delta}`);
  return words.join(", ") + (e.detail ? `: ${firstLine(e.detail)}` : "");
}

// renderExtras shows announcements, the guard and the synchronisation.
function renderExtras(s) {
  const all = [], half = (d) => d ? `on ${d.interface}, id ${d.id}` : "off";
  for (const a of s.announces || []) {
    const state = a.kept ? "KEPT" : a.announced ? "announced" : "not announced", others = a.directors.length ? `, by ${a.directors.join(", ")} too` : "";
    all.push([`Announce ${a.name}: ${state} since ${clock(a.since, s.at)}${others}: ${a.why}`, a.kept || !a.announced && a.reason !== "start" && a.reason !== "standby" ? "bad" : ""]);
  }
  if (s.guard) {
    all.push([`Guard ${s.guard.state} since ${clock(s.guard.since, s.at)}${s.guard.why ? `: ${s.guard.why}` : ""}`, s.guard.active ? "bad" : ""]);
    for (const w of s.guard.witnesses) all.push([`Witness ${w.address} ${!w.last_probe ? "was not asked yet" : w.answers ? "answers" : "IS SILENT"}`, w.answers || !w.last_probe ? "" : "warn"]);
  }
  const sync = s.ipvs.sync;
  if (sync) all.push([`Connections${sync.foreign ? " (synchronised by another process)" : ""}: sends ${half(sync.master)}; receives ${half(sync.backup)}${sync.error ? `: ${sync.error}` : ""}`, sync.error ? "bad" : ""]);
  list($("extras"), all, (x, i) => i, () => make("li"), (li, [text, kind]) => {
    put(li, text);
    tint(li, kind);
  });
}
