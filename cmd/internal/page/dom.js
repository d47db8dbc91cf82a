// The document: nodes are made once and then changed where they differ, so that
// focus, selection and scrolling stay, and what did not change is not drawn again.
// Text only ever becomes text.

const $ = (id) => document.getElementById(id);

// make makes an element: attributes, then children, a string being text.
function make(tag, attributes, ...children) {
  const node = tag === "svg" || tag === "path"
    ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// put sets the text of a node.
function put(node, text) {
  if (node.shown === text) return;
  node.shown = text;
  node.textContent = text;
}

// set sets an attribute of a node; null removes it.
function set(node, name, value) {
  if (value === null) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, value);
  }
}

// tint sets the colour of a node's text: good, warn, bad, soft or "".
function tint(node, kind) {
  for (const k of ["good", "warn", "bad", "soft"]) {
    if (node.classList.contains(k) !== (k === kind)) node.classList.toggle(k, k === kind);
  }
}

function hide(node, hidden) {
  if (node.hidden !== hidden) node.hidden = hidden;
}

// list makes the children of a node match items: one child for each item, identified
// by its key, created once, updated in place, moved only when the order changed.
function list(parent, items, key, create, update) {
  const known = parent.known || (parent.known = new Map());
  const wanted = new Set(items.map(key));
  for (const [k, child] of known) {
    if (wanted.has(k)) continue;
    child.remove();
    known.delete(k);
  }
  let next = parent.firstChild;
  items.forEach((item, i) => {
    const k = key(item, i);
    let child = known.get(k);
    if (!child) known.set(k, child = create(item));
    if (child === next) next = next.nextSibling;
    else parent.insertBefore(child, next);
    update(child, item);
  });
}

// phrases shows short texts beside each other: [text, kind] each.
function phrases(parent, all) {
  list(parent, all, (p, i) => i, () => make("span"), (node, [text, kind]) => {
    put(node, text);
    tint(node, kind);
  });
}

// draw draws values as a curve, with a gap where a value is unknown.
function draw(svg, values, what) {
  const known = values.filter((v) => v >= 0), top = Math.max(1e-9, ...known);
  const signature = values.join();
  if (svg.values === signature) return;
  svg.values = signature;
  const width = Math.max(values.length - 1, 1);
  let line = "", area = "", from = null;
  values.forEach((v, i) => {
    const x = (i / width * 100).toFixed(1), y = (23 - v / top * 21).toFixed(1);
    if (v < 0) return;
    if (i === 0 || values[i - 1] < 0) {
      line += `M${x} ${y}`;
      area += `M${x} 24L${x} ${y}`;
    } else {
      line += `L${x} ${y}`;
      area += `L${x} ${y}`;
    }
    from = x;
    if (i === values.length - 1 || values[i + 1] < 0) area += `L${from} 24Z`;
  });
  set(svg.children[0], "d", area || "M0 24");
  set(svg.children[1], "d", line || "M0 24");
  const now = known.length ? known[known.length - 1] : 0;
  set(svg, "aria-label", known.length < 2 ? `${what}: no values yet`
    : `${what}, last ${span(values.length)}: now ${number(now)}, lowest ${number(Math.min(...known))}, highest ${number(top < 1e-6 ? 0 : top)}`);
}

function chart() {
  return make("svg", { class: "chart", viewBox: "0 0 100 24", preserveAspectRatio: "none", role: "img" },
    make("path", { class: "area" }), make("path", { class: "line" }));
}
