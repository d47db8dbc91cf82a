// The details of one real server: each cause of its weight, what is missing for the
// configured weight, and the last probes with the replies. Requested on a click, and
// again with each status while it is expanded.

const details = new Map(); // "service\naddress" -> {answer, error}
const openAtOnce = 8;

const detailKey = (service, address) => `${service}\n${address}`;
const asked = (service, address) => details.has(detailKey(service, address));

function toggleWhy(service, address) {
  const key = detailKey(service, address);
  if (!details.delete(key)) {
    if (details.size >= openAtOnce) details.delete(details.keys().next().value);
    details.set(key, {});
    askWhy(key);
  }
  render();
}

async function askWhy(key) {
  const [service, address] = key.split("\n");
  const entry = details.get(key);
  if (!entry || entry.asking) return;
  entry.asking = true;
  try {
    const query = new URLSearchParams({ service, real_server: address });
    const why = await ask(`api/v1/why?${query}`);
    entry.answer = why.real_servers[0];
    entry.error = "";
  } catch (e) {
    entry.error = String(e.message || e);
  }
  entry.asking = false;
  if (details.get(key) === entry) render();
}

function askAllWhy() {
  for (const key of details.keys()) askWhy(key);
}

function newDetail(service, address) {
  const tr = make("tr", { class: "detail" }), td = make("td");
  tr.append(td);
  const region = make("div", { role: "group", "aria-label": `why of ${address}` });
  tr.note = make("p", { class: "soft" });
  tr.prober = make("p", { class: "soft" });
  tr.causes = make("ul");
  tr.missing = make("ul");
  tr.checks = make("div");
  tr.curves = {};
  const curves = make("div", { class: "curves" });
  for (const [name, title] of [["active_connections", "open connections"], ["connections_per_second", "new connections a second"], ["bytes_per_second", "bytes a second"]]) {
    const c = { chart: chart(), now: make("span"), title };
    curves.append(make("figure", null, make("figcaption", null, make("span", null, title), c.now), c.chart));
    tr.curves[name] = c;
  }
  tr.missingTitle = make("h4", null, "Until the configured weight");
  region.append(tr.note, tr.prober, make("h4", null, "Why this weight"), tr.causes, tr.missingTitle, tr.missing, tr.checks, make("h4", null, "Last 10 minutes"), curves);
  td.append(region);
  return tr;
}

function updateDetail(tr, service, rs, kept, s) {
  const entry = details.get(detailKey(service, rs.address)) || {};
  const a = entry.answer;
  set(tr.firstChild, "colspan", columnsShown());
  put(tr.note, entry.error || (a ? "" : "loading …"));
  hide(tr.note, !tr.note.textContent);
  tint(tr.note, entry.error ? "bad" : "");
  for (const [name, c] of Object.entries(tr.curves)) {
    const values = kept ? kept[name] : [], known = values.filter((v) => v >= 0);
    draw(c.chart, values, `${c.title} of ${rs.address}`);
    const say = name === "bytes_per_second" ? bytes : number;
    put(c.now, known.length < 2 ? "no values yet" : `${say(known[known.length - 1])}, at most ${say(Math.max(...known))}`);
  }
  hide(tr.prober, !rs.probed_by);
  put(tr.prober, `probed by director ${rs.probed_by} (probe_share), and rarely from here`);
  if (!a) return;
  list(tr.causes, a.causes, (c, i) => i, () => make("li"), (li, c) => {
    put(li, `${c.kind}: ${c.text}${c.weight < rs.configured_weight ? `, so at most ${c.weight}` : ""}${c.since ? `, since ${clock(c.since, s.at)}` : ""}${c.until ? `, until ${clock(c.until, s.at)}` : ""}`);
    tint(li, c.weight < rs.configured_weight ? kinds[serverRank(rs)] : "");
  });
  hide(tr.missingTitle, !a.missing.length);
  list(tr.missing, a.missing, (m, i) => i, () => make("li"), put);
  list(tr.checks, a.checks, (c, i) => i, newCheck, (node, c) => updateCheck(node, c, s));
}

function newCheck() {
  const node = make("div");
  node.caption = make("caption", { class: "unseen" }, "the last probes, newest first");
  node.body = make("tbody");
  node.append(node.heading = make("h4"), make("table", null, node.caption, make("thead", null, make("tr", null, ...["Probe at", "Result", "Took", "Reply"].map((h) => make("th", { scope: "col", class: h === "Took" ? "num" : "" }, h)))), node.body));
  return node;
}

function updateCheck(node, c, s) {
  put(node.heading, `Check ${c.name || c.type}${c.address ? ` ${c.address}` : ""}: ${c.verdict}${c.cause ? `, ${c.cause}` : ""}${c.in_a_row ? `; ${c.in_a_row} of ${c.needed} probes against it` : ""}`);
  const newest = c.history.slice(-10).reverse();
  list(node.body, newest, (p) => p.at, () => make("tr", null, make("th", { scope: "row" }), make("td"), make("td", { class: "num" }), make("td")), (tr, p) => {
    const cell = tr.children;
    put(cell[0], clock(p.at, s.at));
    put(cell[1], p.reason);
    tint(cell[1], p.reason === "ok" ? "" : "bad");
    put(cell[2], took(p.took_seconds));
    put(cell[3], [p.reason === "ok" ? "" : p.phase, p.detail].filter(Boolean).join(": "));
  });
}
