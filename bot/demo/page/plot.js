"use strict";
// Share of traffic above the error ratio on one clock, as one SVG string. Points are [seconds, share of 42, error ratio, requests a second].
const GOOD = "41", BAD = "42", OBJECTIVE = 0.01, LEAST = 45, MOST = 600, DRAWN = 300;
const pct = (v) => (v >= 0.9995 || v === 0 ? Math.round(v * 100) : (v * 100).toFixed(1)) + "\u00a0%";
const two = (n) => String(n).padStart(2, "0");
const hm = (t) => { const d = new Date(t * 1000); return two(d.getHours()) + ":" + two(d.getMinutes()); };
const dm = (t) => new Date(t * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short" });
const hms = (t) => hm(t) + ":" + two(new Date(t * 1000).getSeconds());

// Neighbouring points are averaged when there are more than the eye can tell apart.
function thinned(points) {
  const size = Math.ceil(points.length / DRAWN);
  if (size < 2) return points;
  const rows = [];
  for (let i = 0; i < points.length; i += size) {
    const some = points.slice(i, i + size);
    rows.push([0, 1, 2].map((k) => some.reduce((sum, p) => sum + p[k], 0) / some.length));
  }
  return rows;
}

// Labels that would touch go one row lower.
function placed(lines, W) {
  const ends = [-99, -99, -99];
  return lines.map(([X, label]) => {
    const w = label.length * 6.6 + 8, mid = Math.min(Math.max(X, w / 2), W - w / 2), row = Math.max(0, ends.findIndex((end) => mid - w / 2 >= end));
    ends[row] = mid + w / 2;
    return [X, label, mid, row];
  });
}

// Stretches in which one version serves most requests: [bad?, points].
function stretches(points) {
  const runs = [];
  for (const p of points) {
    const bad = p[1] >= 0.5, last = runs[runs.length - 1];
    if (last && last[0] === bad) last[1].push(p);
    else runs.push([bad, last ? [last[1][last[1].length - 1], p] : [p]]);
  }
  return runs;
}

function plotted(series, marks, W, H) {
  const now = series[series.length - 1][0], span = Math.min(MOST, Math.max(LEAST, (now - series[0][0]) * 1.03)), t0 = Math.max(series[0][0], now - span / 1.03);
  const R = 52, right = W - R, x = (t) => (t - t0) / span * right, points = thinned(series.filter((p) => p[0] >= t0));
  const A0 = 20, A1 = Math.round(A0 + (H - 104) * 0.46), B0 = A1 + 50, B1 = H - 26;
  const peak = Math.max(...points.map((p) => p[2])), top = [0.02, 0.04, 0.08, 0.16, 0.3, 0.6, 1].find((v) => v >= peak * 1.1) || 1;
  const yA = (v) => A1 - v * (A1 - A0), yB = (v) => B1 - Math.min(1, v / top) * (B1 - B0), at = (p, y) => x(p[0]).toFixed(1) + " " + y.toFixed(1);
  const first = x(points[0][0]).toFixed(1), end = x(now).toFixed(1), runs = stretches(points), last = points[points.length - 1];
  const edge = points.map((p) => at(p, yA(p[1]))).join("L");
  let g = `<text x="0" y="11">Share of traffic</text><text x="${right + 8}" y="${A0 + 8}">100\u00a0%</text><text x="${right + 8}" y="${A1}">0\u00a0%</text>`;
  g += `<rect class="a-good" x="${first}" y="${A0}" width="${end - first}" height="${A1 - A0}"/><path class="a-bad" d="M${first} ${A1}L${edge}L${end} ${A1}Z"/><path class="l-edge" d="M${edge}"/>`;
  for (const [bad, some] of runs) {
    const a = x(some[0][0]), b = x(some[some.length - 1][0]), text = b - a > 76 ? "version " + (bad ? BAD : GOOD) : b - a > 24 ? (bad ? BAD : GOOD) : "";
    if (text) g += `<text class="lab ${bad ? "b" : "g"}" text-anchor="middle" x="${((a + b) / 2).toFixed(1)}" y="${(A0 + A1) / 2 + 4}">${text}</text>`;
  }
  g += `<text x="0" y="${B0 - 8}">Error ratio</text><text x="${right + 8}" y="${B0 + 4}">${pct(top).replace(".0", "")}</text>`;
  for (const [bad, some] of runs) {
    const d = some.map((p) => at(p, yB(p[2]))).join("L"), kind = bad ? "bad" : "good";
    g += `<path class="u-${kind}" d="M${x(some[0][0]).toFixed(1)} ${B1}L${d}V${B1}Z"/><path class="l-${kind}" d="M${d}"/>`;
  }
  g += `<path class="l-axis" d="M0 ${B1}H${right}"/><path class="l-obj" d="M0 ${yB(OBJECTIVE)}H${right}"/><text class="obj" x="${right + 8}" y="${yB(OBJECTIVE) + 4}">≤ 1\u00a0%</text>`;
  const step = [5, 10, 15, 30, 60, 120].find((s) => span / s <= right / 74) || 300;
  for (let t = Math.ceil(t0 / step) * step; t <= t0 + span; t += step) if (x(t) > 14 && x(t) < right - 8) g += `<path class="l-axis" d="M${x(t).toFixed(1)} ${B1}v4"/><text text-anchor="middle" x="${x(t).toFixed(1)}" y="${H - 6}">${step < 60 ? hms(t) : hm(t)}</text>`;
  for (const [X, label, mid, row] of placed(marks.lines.filter((m) => m[0] >= t0).map((m) => [x(m[0]), m[1]]), right + R))
    g += `<path class="l-mark" d="M${X.toFixed(1)} ${A0 - 3}V${B1}"/><text class="lab i" text-anchor="middle" x="${mid.toFixed(1)}" y="${A1 + 15 + row * 14}">${label}</text>`;
  for (const [t, who] of marks.dots) if (t >= t0) g += `<circle class="d-vote" cx="${x(t).toFixed(1)}" cy="${A1}" r="4.5"><title>${who} ${hms(t)}</title></circle>`;
  return g + `<circle class="${last[1] >= 0.5 ? "d-bad" : "d-good"}" cx="${end}" cy="${yB(last[2]).toFixed(1)}" r="4"/>`;
}

// The same story in one sentence, for those who do not see it.
function sentence(series, marks) {
  const now = series[series.length - 1], told = marks.lines.map(([t, label]) => `${label} at ${hms(t)}`).join(", ");
  return `Version ${BAD} serves ${pct(now[1])} of traffic, version ${GOOD} ${pct(1 - now[1])}. Error ratio ${pct(now[2])}, objective at most 1\u00a0%.${told ? ` Marks: ${told}.` : ""}`;
}
