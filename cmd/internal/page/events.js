// The history: the newest events, then a stream of new ones. Where the stream fails they
// are requested with each status.

const keptEvents = 200;
let eventsShown = 12, events = [], following = false;

function addEvent(e) {
  if (events.length && e.id <= events[0].id) return;
  events.unshift(e);
  events.length = Math.min(events.length, keptEvents);
  soon();
}

const lastEvent = () => events.length ? `&after=${events[0].id}` : "";

// follow reads the stream until it ends, and begins again.
async function follow() {
  for (;;) {
    try {
      const answer = await fetch(`api/v1/events?follow=1&limit=${keptEvents}${lastEvent()}`, { cache: "no-store" });
      if (!answer.ok) throw new Error(await answer.text());
      following = true;
      await readLines(answer.body, (line) => addEvent(JSON.parse(line)));
      following = false;
    } catch (e) {
      following = false;
      if (!state.lost) put($("events-note"), `not live, updated every ${age(10000)}: ${firstLine(String(e.message || e))}`);
    }
    await new Promise((done) => setTimeout(done, 3000));
  }
}

async function readLines(body, handle) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line) handle(line);
    put($("events-note"), "");
    render();
  }
}

async function askEvents() {
  if (following) return;
  try {
    for (const e of await ask(`api/v1/events?limit=${keptEvents}${lastEvent()}`)) addEvent(e);
  } catch (e) { /* poll reports it */ }
}

const eventKind = (e) => ({ error: "bad", warn: "warn" })[e.level] || "";

function renderEvents(s) {
  list($("events"), events.slice(0, eventsShown), (e) => e.id, () => make("li", null, make("time"), make("span"), make("span"), make("span", { class: "reason" })), (li, e) => {
    const part = li.children;
    put(part[0], clock(e.at, s.at));
    set(part[0], "datetime", e.at);
    put(part[1], `${e.kind} ${subject(e)}`);
    put(part[2], change(e));
    tint(part[2], eventKind(e));
    put(part[3], firstLine(e.reason || ""));
  });
  hide($("more-events"), events.length <= eventsShown);
  const e = events[0];
  phrases($("now-change"), e ? [[`${age(Date.parse(s.at) - Date.parse(e.at))} ago: ${e.kind} ${subject(e)} ${change(e)}`, eventKind(e)], [e.reason ? `: ${firstLine(e.reason)}` : "", ""]] : [["none recorded", ""]]);
}

$("more-events").onclick = () => {
  eventsShown += 50;
  render();
};
