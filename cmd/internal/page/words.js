// Text forms. The ranks are those of `lvsd status --unhealthy`.

const broken = 0, degraded = 1, reduced = 2, drained = 3, healthy = 4;
const kinds = ["bad", "warn", "warn", "warn", ""];

function serverRank(rs) {
  if (rs.verdict === "down") return broken;
  if (rs.verdict !== "up" || rs.unchecked) return degraded;
  if (rs.draining) return drained;
  return rs.weight === null || rs.weight !== rs.configured_weight ? reduced : healthy;
}

function serviceRank(svc) {
  if (!svc.up || svc.fallback && svc.fallback.active) return broken;
  if (svc.panic) return degraded;
  let worst = healthy;
  for (const rs of svc.real_servers) {
    const rank = serverRank(rs);
    if (rank < worst) worst = Math.max(rank, reduced);
  }
  return worst;
}

// serviceState is in capitals where it needs attention.
function serviceState(svc) {
  const words = [svc.up ? "up" : "QUORUM LOST"];
  if (svc.panic) words.push("PANIC");
  if (svc.fallback && svc.fallback.active) words.push("FALLBACK IS SERVING");
  return words.join(", ");
}

const activeOf = (svc) => svc.real_servers.reduce((n, rs) => n + rs.active_connections, 0);
const serves = (rs) => rs.weight !== null && rs.weight > 0;
const where = (svc) => svc.fwmark ? `fwmark ${svc.fwmark}` : `${svc.protocol} ${svc.address}`;
const counted = (n, thing) => `${n} ${thing}${n === 1 ? "" : "s"}`;
const firstLine = (text) => text.split("\n", 1)[0] + (text.includes("\n") ? " …" : "");
const two = (n) => String(n).padStart(2, "0");

const health = (rs) => rs.verdict + (rs.unchecked ? ", unchecked" : "") + (rs.probed_by ? ` (${rs.probed_by})` : "") + (rs.draining ? ", draining" : "");

function weight(rs) {
  const now = rs.weight === null ? "–" : String(rs.weight);
  return rs.weight === rs.configured_weight ? now : `${now} of ${rs.configured_weight}`;
}

// why returns the cause of a weight; for a server at its full weight the last probe.
function why(rs) {
  const p = rs.last_probe;
  if (serverRank(rs) === healthy && rs.wanted_weight === rs.configured_weight && p) return `${p.check || p.type} ${p.reason} in ${took(p.took_seconds, true)}`;
  return rs.why;
}

function took(seconds, short) {
  const ms = seconds * 1000;
  if (short) return ms < 10 ? "under 10 ms" : `${Math.round(ms / 10) * 10} ms`;
  return ms < 10 ? `${ms.toFixed(2)} ms` : `${Math.round(ms)} ms`;
}

// One clock: times of day are the director's, in its time zone, as in its log.
const offset = (text) => {
  const m = /([+-])(\d\d):(\d\d)$/.exec(text);
  return m ? (m[1] === "-" ? -1 : 1) * (m[2] * 60 + +m[3]) : 0;
};

function zone(now) {
  const o = offset(now);
  return o ? `UTC${o < 0 ? "−" : "+"}${two(Math.floor(Math.abs(o) / 60))}:${two(Math.abs(o) % 60)}` : "UTC";
}

// clock is a time of day, with the date where it is not today's.
function clock(text, now) {
  if (!text) return "";
  const local = (t) => new Date(Date.parse(t) + offset(now) * 60000).toISOString();
  const t = local(text), day = t.slice(0, 10);
  return `${day === local(now).slice(0, 10) ? "" : `${day} `}${t.slice(11, 19)}`;
}

// shortClock is the time of day, or the date where it is not today's.
function shortClock(text, now) {
  const all = clock(text, now);
  return all.length > 8 ? all.slice(0, 10) : all;
}

function age(milliseconds) {
  const s = Math.max(0, Math.round(milliseconds / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
  return counted(Math.floor(s / 86400), "day");
}

const span = (points) => `${Math.max(1, Math.round(points / 6))} min`;

function number(n) {
  if (n < 10 && n % 1 !== 0) return n.toFixed(1);
  if (n < 10000) return String(Math.round(n));
  if (n < 1e6) return `${(n / 1e3).toFixed(n < 1e5 ? 1 : 0)} k`;
  return `${(n / 1e6).toFixed(1)} M`;
}

const bytes = (n) => n < 1000 ? `${Math.round(n)} B` : n < 1e6 ? `${(n / 1e3).toFixed(1)} kB` : n < 1e9 ? `${(n / 1e6).toFixed(1)} MB` : `${(n / 1e9).toFixed(1)} GB`;

function subject(e) {
  return e.service ? `${e.service} ${e.real_server || ""}`.trim() : e.vrrp || e.peer || e.real_server || e.director || "";
}

const change = (e) => e.from ? `${e.from} → ${e.to}` : e.to || "";
