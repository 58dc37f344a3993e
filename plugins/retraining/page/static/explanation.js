// What moved an answer, as bars and as a table; the page and the form of the HTTP API show it alike.

import { el, number, section, svg, table } from "./dom.js";

const BARS = 12;

export function why({ explanation, probabilities, prediction }) {
  if (!explanation) return el("p", { class: "soft" }, "This model does not say why it answers so: the next one that is trained will.");
  const { of, base, values, standard_errors: errors } = explanation;
  const what = probabilities ? `probability of ${of}` : of;
  const end = probabilities ? probabilities[of] : prediction;
  const moves = Object.entries(values).map(([column, move]) => ({ column, move, error: errors ? errors[column] : null })).sort((a, b) => Math.abs(b.move) - Math.abs(a.move));
  return section(
    "What moved the answer",
    el("p", {}, `Without knowing the row the model would say ${number(base)} (${what}); the columns move it to ${number(end)}.`),
    pushes(moves.slice(0, BARS), what),
    table(
      `moves of ${what}`,
      [
        { name: "column", cell: ({ column }) => column },
        { name: "move", n: true, cell: ({ move }) => number(move, true) },
        errors ? { name: "standard error", n: true, cell: ({ error }) => number(error) } : null,
      ].filter(Boolean),
      moves,
    ),
    el("p", { class: "soft small" }, "Shapley values against rows that the model was trained on. They say what the model goes by, not what causes the answer."),
  );
}

// Bars to both sides of zero: by how much each column moved an answer.
function pushes(moves, what) {
  const row = 26, left = 150, right = 80, width = Math.max(320, Math.min(760, document.documentElement.clientWidth - 80));
  const height = row * moves.length + 8, ends = [0, ...moves.map(({ move }) => move)];
  const low = Math.min(...ends), span = Math.max(...ends) - low || 1;
  const x = (value) => left + ((value - low) / span) * (width - left - right);
  const bars = moves.map(({ column, move }, at) => {
    const y = 4 + row * at, from = Math.min(x(0), x(move));
    return [
      svg("text", { x: left - 10, y: y + 15, "text-anchor": "end" }, column.length > 18 ? `${column.slice(0, 17)}…` : column),
      svg("rect", { class: move < 0 ? "champion-fill" : "challenger-fill", x: from, y, width: Math.max(1, Math.abs(x(move) - x(0))), height: row - 8, rx: 2 }, svg("title", {}, `${column}: ${move}`)),
      svg("text", { x: Math.max(x(0), x(move)) + 6, y: y + 15 }, number(move, true)),
    ];
  });
  const zero = svg("line", { class: "zero", x1: x(0), x2: x(0), y1: 0, y2: height });
  return el("figure", {}, svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `moves of ${what} by column` }, zero, bars));
}
