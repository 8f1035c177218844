"use strict";
// Column headers become buttons that sort; without this script the tables are plain tables.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "descending" ? 1 : -1;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up === 1 ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent.trim();
      const rows = [...body.rows].map((row) => [key(row), row]);
      rows.sort(([a], [b]) => {
        if (a === "" || b === "") return (a === "") - (b === ""); // missing values stay last
        const [x, y] = [Number(a), Number(b)];
        return up * (Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y);
      });
      body.append(...rows.map(([, row]) => row));
    });
  });
}

// Any trial opens in a dialog: from a mark of a chart, its number in a table, or another trial.
const box = document.getElementById("opened");
const body = box.querySelector(".body");
let unpacked, shown;

// What is packed is HTML that the page's maker has escaped; compressed, because trials are many.
async function unpack() {
  const text = atob(document.getElementById("packed").content.textContent.trim());
  const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return JSON.parse(await new Response(stream).text());
}

async function open(seq) {
  let found;
  try {
    unpacked ??= unpack();
    const { trials, networks } = await unpacked;
    found = trials[seq] && [trials[seq][0], networks[trials[seq][1]] ?? "", trials[seq][2]];
    shown = seq;
    for (const button of box.querySelectorAll("[data-step]")) button.disabled = !trials[next(button)];
  } catch {
    found = [`<h2 id="opened-title">Trial ${Number(seq)}</h2><p>This browser cannot unpack it.</p>`];
  }
  found ??= [`<h2 id="opened-title">Trial ${Number(seq)}</h2><p>It is not on this page.</p>`];
  body.innerHTML = found.join("");
  if (!box.open) box.showModal();
  box.scrollTop = 0;
}

const next = (button) => String(Number(shown) + Number(button.dataset.step));

document.addEventListener("click", (event) => {
  const { target } = event;
  if (target.closest("[data-close]") || target === box) return box.close();
  const step = target.closest("[data-step]");
  if (step) return open(next(step));
  const chosen = target.closest("[data-trial]") ?? nearest(event);
  if (!chosen) return;
  event.preventDefault();
  open(chosen.dataset.trial);
});

// A finger is wider than a mark: within 20 pixels the nearest one is meant.
function nearest({ target, clientX, clientY }) {
  let best = null, least = 20;
  for (const mark of target.closest(".chart svg")?.querySelectorAll("[data-trial]") ?? []) {
    const { left, right, top, bottom } = mark.getBoundingClientRect();
    const away = Math.hypot((left + right) / 2 - clientX, (top + bottom) / 2 - clientY);
    if (away < least) [best, least] = [mark, away];
  }
  return best;
}

document.addEventListener("keydown", (event) => {
  const chosen = document.activeElement?.closest("[data-trial]");
  if (!chosen || chosen.tagName === "BUTTON") return;
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    open(chosen.dataset.trial);
  }
});

// The marks of a chart are one stop of the Tab key; arrow keys go from mark to mark.
for (const svg of document.querySelectorAll(".chart svg")) {
  const marks = [...svg.querySelectorAll("[data-trial]")];
  if (!marks.length) continue;
  marks.sort((a, b) => a.dataset.trial - b.dataset.trial);
  svg.setAttribute("role", "group");
  for (const mark of marks) {
    mark.setAttribute("role", "button");
    mark.setAttribute("aria-haspopup", "dialog");
    mark.setAttribute("aria-label", mark.querySelector("title").textContent);
    mark.setAttribute("tabindex", "-1");
  }
  let at = marks.length - 1;
  marks[at].setAttribute("tabindex", "0");
  // On the chart: listeners of focus would make the drawing itself a stop of the Tab key.
  const chart = svg.closest(".chart");
  chart.addEventListener("focusin", ({ target }) => move(marks.indexOf(target)));
  chart.addEventListener("keydown", (event) => {
    if (!marks.includes(event.target)) return; // the chart is being scrolled
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    const ends = { Home: 0, End: marks.length - 1 };
    const to = steps[event.key] ? at + steps[event.key] : ends[event.key];
    if (!marks[to]) return;
    event.preventDefault();
    marks[to].focus();
  });
  function move(to) {
    if (to < 0) return;
    marks[at].setAttribute("tabindex", "-1");
    at = to;
    marks[at].setAttribute("tabindex", "0");
  }
}
for (const link of document.querySelectorAll("a[data-trial]")) {
  link.setAttribute("role", "button");
  link.setAttribute("aria-haspopup", "dialog");
}

// report.html#trial-12 is the address of a trial.
const addressed = () => {
  const found = /^#trial-(\d+)$/.exec(location.hash);
  if (found) open(found[1]);
};
addEventListener("hashchange", addressed);
addressed();
