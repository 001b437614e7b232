// Draw the state of the run twice a second. All text is set as textContent, so that text of an order is never markup.
"use strict";

const STAGES = ["accepted", "paid", "invoiced", "mailed", "counted"];
const SQUARES = ["accepted", "paid", "partly", "done"];
const $ = (id) => document.getElementById(id);
const number = (n) => n.toLocaleString("en");

function svg(name, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

/** Return a round step that divides `span` into at most `most` parts. */
function step(span, most) {
  const raw = Math.max(span / most, 1e-9);
  const power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
}

function drawFlow(state, down) {
  const { counts } = state;
  const total = Math.max(state.planned, counts.accepted, 1);
  const behind = (a, b) => Math.max(counts[a] - counts[b], 0);
  const hints = {
    accepted: state.answered_ms === null ? "" : `202 after ${state.answered_ms} ms (median)`,
    paid: behind("accepted", "paid") ? `${number(behind("accepted", "paid"))} waiting${down ? " for the provider" : ""}` : "",
  };
  for (const copy of ["invoiced", "mailed", "counted"]) {
    hints[copy] = behind("events", copy) ? `${number(behind("events", copy))} waiting` : "";
  }
  $("events").textContent = `order.*.paid: ${number(counts.events)} events, ${number(counts.copies)} of `
    + `${number(3 * counts.events)} copies done, routed by ${state.routed_by}`;
  for (const item of $("flow").querySelectorAll("[data-stage]")) {
    const stage = item.dataset.stage;
    item.querySelector("b").textContent = number(counts[stage]);
    item.querySelector(".bar i").style.width = `${(100 * counts[stage]) / total}%`;
    item.querySelector("small").textContent = hints[stage] || (counts[stage] === total ? "all" : " ");
  }
}

function drawChart(state) {
  const chart = $("chart");
  const width = chart.clientWidth, height = chart.clientHeight;
  const rows = state.series;
  const end = Math.max(rows.length ? rows[rows.length - 1][0] : 0, 10);
  const top = Math.max(state.planned, state.counts.accepted, 1);
  const left = 14 + 8 * String(top).length, bottom = height - 22, up = 18, right = width - 8;
  const x = (t) => left + ((right - left) * t) / end;
  const y = (n) => bottom - ((bottom - up) * n) / top;
  const parts = [];
  for (const [from, to] of state.outages) {
    const a = x(from), b = x(Math.min(to ?? end, end));
    parts.push(svg("rect", { class: "band", x: a, y: up, width: Math.max(b - a, 0), height: bottom - up }));
    for (const edge of to === null ? [a] : [a, b]) parts.push(svg("line", { class: "edge", x1: edge, x2: edge, y1: up, y2: bottom }));
    const seconds = ((to ?? state.at) - from).toFixed(1);
    const long = `provider down ${seconds} s`;
    const fits = b - a > 7 * long.length;
    const anchor = (a + b) / 2 < 90 ? "start" : (a + b) / 2 > right - 90 ? "end" : "middle";
    const middle = anchor === "middle" ? (a + b) / 2 : anchor === "start" ? a : b;
    parts.push(svg("text", { class: "down", x: middle, y: up - 5, "text-anchor": anchor }, fits || state.outages.length === 1 ? long : `${seconds} s`));
  }
  for (const [from, to] of state.toolkit_outages) {
    const a = x(from), b = x(Math.min(to ?? end, end));
    parts.push(svg("rect", { class: "away", x: a, y: up, width: Math.max(b - a, 0), height: bottom - up }));
    if (b - a > 112) parts.push(svg("text", { class: "open", x: a + 6, y: up + 42 }, `toolkit away ${((to ?? state.at) - from).toFixed(1)} s`));
  }
  for (const [from, to] of state.openings) {
    const a = x(from), b = x(Math.min(to ?? end, end));
    parts.push(svg("rect", { class: "opening", x: a, y: up, width: Math.max(b - a, 0), height: 4 }));
    if (b - a > 170) parts.push(svg("text", { class: "open", x: a + 6, y: up + 22 }, "breaker open; a ring is a probe"));
  }
  for (const at of state.probes) parts.push(svg("circle", { class: "probe", cx: x(Math.min(at, end)), cy: up + 2, r: 5 }));
  const dy = step(top, 4), dx = step(end, Math.max(3, Math.floor(width / 110)));
  for (let n = 0; n <= top + 1e-9; n += dy) {
    parts.push(svg("line", { class: "grid", x1: left, x2: right, y1: y(n), y2: y(n) }));
    parts.push(svg("text", { x: left - 7, y: y(n) + 4, "text-anchor": "end" }, number(n)));
  }
  for (let t = 0; t <= end + 1e-9; t += dx) {
    parts.push(svg("text", { x: x(t), y: height - 5, "text-anchor": t === 0 ? "start" : x(t) > right - 20 ? "end" : "middle" }, `${+t.toFixed(2)} s`));
  }
  STAGES.forEach((stage, index) => {
    const points = rows.map((row) => `${x(row[0]).toFixed(1)},${y(row[index + 1]).toFixed(1)}`);
    parts.push(svg("polyline", { class: "series", "data-stage": stage, points: points.join(" ") }));
  });
  for (const at of state.killed) {
    const cx = x(Math.min(at, end)), cy = bottom - 9;
    parts.push(svg("path", { class: "mark", d: `M${cx - 4},${cy - 4}l8,8m0,-8l-8,8` }));
    const anchor = cx > right - 110 ? "end" : "start";
    parts.push(svg("text", { class: "kill", x: cx + (anchor === "end" ? -9 : 9), y: cy + 4, "text-anchor": anchor }, "worker killed"));
  }
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.replaceChildren(...parts);
}

function drawWall(state) {
  const canvas = $("wall");
  const style = getComputedStyle(document.documentElement);
  const tones = SQUARES.map((stage) => style.getPropertyValue(`--${stage}`).trim());
  const empty = style.getPropertyValue("--track").trim();
  const total = Math.max(state.planned, state.stages.length, 1);
  const width = canvas.clientWidth;
  // The largest square size with which all orders fit the height.
  const most = width < 600 ? 220 : 120;
  let cell = 22;
  while (cell > 5 && Math.ceil(total / Math.floor(width / cell)) * cell > most) cell -= 1;
  const across = Math.floor(width / cell), pitch = (width + (cell > 8 ? 2 : 1)) / across, gap = cell > 8 ? 2 : 1;
  const height = Math.ceil(total / across) * cell;
  const scale = window.devicePixelRatio || 1;
  canvas.style.height = `${height}px`;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  for (let i = 0; i < total; i += 1) {
    pen.fillStyle = i < state.stages.length ? tones[state.stages.charCodeAt(i) - 49] : empty;
    pen.beginPath();
    pen.roundRect((i % across) * pitch, Math.floor(i / across) * cell, pitch - gap, cell - gap, gap);
    pen.fill();
  }
  const open = [...state.stages].filter((stage) => stage !== "4").length;
  const speed = state.per_second > 0 ? `, ${state.per_second.toFixed(0)} orders a second` : "";
  $("open").textContent = open > 0 ? `${number(open)} in progress${speed}` : "";
}

function drawStory(state) {
  const rows = state.incidents.slice().reverse().map((incident) => {
    const row = document.createElement("li"), time = document.createElement("time"), text = document.createElement("span");
    row.dataset.kind = incident.kind;
    time.textContent = `${incident.at.toFixed(1)} s`;
    text.textContent = incident.text;
    row.append(time, text);
    return row;
  });
  $("story").replaceChildren(...rows);
}

function drawVerdict(state) {
  const box = $("verdict"), ledger = state.ledger;
  box.hidden = ledger === null;
  if (ledger === null) return;
  box.dataset.balances = String(state.balances);
  box.querySelector("strong").textContent = state.balances ? "The ledger balances" : "The ledger does not balance";
  const facts = [
    `${number(ledger.accepted)} accepted`, `${number(ledger.charges)} charged`, `${number(ledger.invoices)} invoices`,
    `${number(ledger.emails)} e-mails`, `${number(ledger.sales)} sales`, `${number(ledger.shop.sold)} items sold`,
    `${number(ledger.lost.length)} lost`, `${number(ledger.double_charges.length)} charged twice`,
    `${number(ledger.shop.split.length)} double orders`, `${number(ledger.shop.stale_writes)} stale writes`,
  ];
  box.querySelector("ul").replaceChildren(...facts.map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  }));
}

const LIGHTS = { closed: "breaker closed", open: "breaker OPEN", "half-open": "breaker half-open", ramp: "breaker closed, ramp" };

function drawBreaker(state) {
  const { breaker } = state;
  $("breaker").dataset.state = breaker.state;
  $("breaker").lastElementChild.textContent = LIGHTS[breaker.state];
  $("gate").hidden = breaker.state === "closed";
  $("gate").textContent = `payments: ${breaker.text}. ${number(breaker.waiting)} wait in their queue${breaker.empty ? `, empty ${breaker.empty}` : ""}.`;
}

function drawPieces(state) {
  const best = Object.entries(state.best_sellers).slice(0, 1).map(([item, sold]) => `${item}: ${number(sold)}`);
  const rows = state.pieces.map((piece) => {
    const row = document.createElement("li"), name = document.createElement("b"), side = document.createElement("span");
    row.dataset.whole = String(piece.whole);
    name.textContent = piece.name;
    side.textContent = piece.name === "best sellers" && piece.whole && best.length ? best.join(", ") : piece.side;
    row.append(name, side);
    return row;
  });
  $("pieces").replaceChildren(...rows);
  const away = state.toolkit_outages.some(([, to]) => to === null), whole = state.pieces.every((piece) => piece.whole);
  $("toolkit").dataset.state = away ? "down" : whole ? "up" : "ramp";
  $("toolkit").lastElementChild.textContent = away ? "toolkit AWAY" : whole ? "toolkit up" : "toolkit comes back";
}

function drawInvoice(state) {
  $("invoice").hidden = state.invoice === "";
  $("invoice").href = state.invoice;
}

function draw(state) {
  const down = state.outages.some(([, to]) => to === null);
  $("provider").dataset.state = down ? "down" : "up";
  $("provider").lastElementChild.textContent = down ? "payment provider DOWN" : "payment provider up";
  $("clock").textContent = `${state.at.toFixed(1)} s`;
  $("retries").textContent = `${number(state.counts.retries)} / ${number(state.counts.in_outage)}`;
  $("probes").textContent = number(state.probes.length);
  $("repeats").textContent = number(state.counts.repeats);
  $("replays").textContent = number(state.replays);
  $("killed").textContent = number(state.killed.length);
  $("controls").hidden = !state.staying;
  $("controls").querySelector("[data-do=outage]").textContent = `Provider down ${state.outage} s`;
  drawVerdict(state);
  drawBreaker(state);
  drawPieces(state);
  drawInvoice(state);
  drawFlow(state, down);
  drawChart(state);
  drawWall(state);
  drawStory(state);
  document.body.dataset.drawn = "yes";
}

let last = null, misses = 0;

async function look() {
  try {
    const answer = await fetch("state", { cache: "no-store" });
    last = await answer.json();
    misses = 0;
    draw(last);
  } catch {
    misses += 1;
  }
  $("gone").hidden = misses < 4;
  setTimeout(look, 500);
}

window.addEventListener("resize", () => last && draw(last));
$("controls").addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (button === null) return;
  button.disabled = true;
  try { await fetch(`do/${button.dataset.do}`, { method: "POST" }); } finally { button.disabled = false; }
});
look();
