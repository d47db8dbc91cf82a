// How things are said. The ranks are those of `lvsd status --unhealthy`.

const broken = 0, doubtful = 1, lessThanAll = 2, onPurpose = 3, asItShould = 4;
const kinds = ["bad", "warn", "warn", "warn", ""];

function serverRank(rs) {
  if (rs.verdict === "down") return broken;
  if (rs.verdict !== "up" || rs.unchecked) return doubtful;
  if (rs.draining) return onPurpose;
  return rs.weight === null || rs.weight !== rs.configured_weight ? lessThanAll : asItShould;
}

function serviceRank(svc) {
  if (!svc.up || svc.fallback && svc.fallback.active) return broken;
  if (svc.panic) return doubtful;
  let worst = asItShould;
  for (const rs of svc.real_servers) {
    const rank = serverRank(rs);
    if (rank < worst) worst = Math.max(rank, lessThanAll);
  }
  return worst;
}

// serviceState is in capitals what an engineer on call should see.
function serviceState(svc) {
  const words = [svc.up ? "up" : "QUORUM LOST"];
  if (svc.panic) words.push("PANIC");
  if (svc.fallback && svc.fallback.active) words.push("FALLBACK SERVES");
  return words.join(", ");
}

const serves = (rs) => rs.weight !== null && rs.weight > 0;
const where = (svc) => svc.fwmark ? `fwmark ${svc.fwmark}` : `${svc.protocol} ${svc.address}`;
const counted = (n, thing) => `${n} ${thing}${n === 1 ? "" : "s"}`;
const firstLine = (text) => text.split("\n", 1)[0] + (text.includes("\n") ? " …" : "");
const two = (n) => String(n).padStart(2, "0");

const health = (rs) => rs.verdict + (rs.unchecked ? ", unchecked" : "") + (rs.draining ? ", draining" : "");

function weight(rs) {
  const now = rs.weight === null ? "–" : String(rs.weight);
  return rs.weight === rs.configured_weight ? now : `${now} of ${rs.configured_weight}`;
}

// why is the cause of a weight; of a server at its full weight the last probe says
// more.
function why(rs) {
  const p = rs.last_probe;
  if (serverRank(rs) === asItShould && rs.wanted_weight === rs.configured_weight && p) return `${p.check || p.type} ${p.reason} in ${took(p.took_seconds, true)}`;
  return rs.why;
}

function took(seconds, short) {
  const ms = seconds * 1000;
  if (short) return ms < 10 ? "under 10 ms" : `${Math.round(ms / 10) * 10} ms`;
  return ms < 10 ? `${ms.toFixed(2)} ms` : `${Math.round(ms)} ms`;
}

// clock is a time of day, with the day where that is not today's.
function clock(text, now) {
  if (!text) return "";
  const t = new Date(text), n = new Date(now);
  const day = `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`;
  return t.toDateString() === n.toDateString() ? day : `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${day}`;
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
