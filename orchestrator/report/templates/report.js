"use strict";
// The page says all without this.  It builds what a case's box holds when that is opened, opens what
// a link leads to, filters the cases, and copies commands.

const all = (selector, node = document) => [...node.querySelectorAll(selector)];

// What `noscript` holds is text to a browser that runs this: it becomes elements here.
function fill(box) {
  const lazy = box.querySelector(":scope > noscript");
  if (!lazy) return;
  const built = document.createElement("template");
  built.innerHTML = lazy.textContent;
  addCopyButtons(built.content);
  lazy.replaceWith(built.content);
}
// `toggle` does not bubble.
addEventListener("toggle", (event) => event.target.open && fill(event.target), true);

// `#case=ID`; the end of an id will do: `#case=uffd-move/swap:counters`.
function target() {
  const name = location.hash.slice(1);
  if (!name) return null;
  const end = CSS.escape(name.replace(/^case=/, ""));
  return document.getElementById(name) || document.querySelector(`details[id$="${end}"]`);
}
function reveal() {
  const goal = target();
  if (!goal) return;
  if (goal.closest("[hidden]")) clearFilter();
  for (let node = goal; node; node = node.parentElement) {
    if (node.tagName === "DETAILS") { fill(node); node.open = true; }
  }
  goal.scrollIntoView();
  goal.querySelector("summary")?.focus({ preventScroll: true });
}
addEventListener("hashchange", reveal);

function addCopyButtons(node) {
  for (const box of all("pre.cmd", node)) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "copy";
    box.append(button);
  }
}
addEventListener("click", async (event) => {
  const box = event.target.closest("pre.cmd button")?.parentElement;
  if (!box) return;
  const code = box.querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
    event.target.textContent = "copied";
  } catch {
    getSelection().selectAllChildren(code);
    event.target.textContent = "selected";
  }
});

// The filter of the cases.  A case's class is its verdict; its cell has architecture and config.
const form = document.getElementById("filter");
const wasOpen = new Map();
const verdicts = () => all("button[aria-pressed=true]", form).map((button) => button.value);
function applyFilter() {
  const { arch, config, workload, text } = form.elements;
  const words = text.value.toLowerCase(), kinds = verdicts();
  const active = Boolean(words || kinds.length || arch.value || config.value || workload.value);
  let shown = 0;
  for (const cell of all("#cells > details.cell")) {
    const cellFits = (!arch.value || cell.dataset.arch === arch.value)
      && (!config.value || cell.dataset.config === config.value);
    let inCell = 0;
    for (const group of all("details.group", cell)) {
      const fits = cellFits && (!workload.value || group.dataset.workload === workload.value);
      const place = `${cell.dataset.name}:${group.dataset.workload}`;
      let inGroup = 0;
      for (const one of group.querySelectorAll(":scope > .case")) {
        one.hidden = !(fits && (!kinds.length || kinds.some((kind) => one.classList.contains(kind)))
          && (!words || seen(one, place).includes(words)));
        if (!one.hidden) inGroup++;
      }
      show(group, inGroup, active);
      inCell += inGroup;
    }
    show(cell, inCell, active);
    shown += inCell;
  }
  form.querySelector("output").textContent = active ? `${shown} shown` : "";
}
// A case's place and what is seen of it while it is closed.
function seen(one, place) {
  return `${place} ${(one.querySelector("summary") || one).textContent}`.toLowerCase();
}
function show(box, count, active) {
  if (!wasOpen.has(box)) wasOpen.set(box, box.open);
  box.hidden = active && !count;
  box.open = active ? count > 0 : wasOpen.get(box);
}
function clearFilter() {
  form.reset();
  for (const button of all("button[aria-pressed]", form)) button.setAttribute("aria-pressed", "false");
  applyFilter();
}
function press(kind) {
  const button = all("button[aria-pressed]", form).find((one) => one.value === kind);
  if (button) button.setAttribute("aria-pressed", String(button.ariaPressed !== "true"));
  applyFilter();
}
// All that the filter leaves, with what is in it; or all closed again.
function expand(open) {
  for (const box of all("#cells details:not([hidden])")) {
    if (open) fill(box);
    box.open = open;
  }
}
if (form) {
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", applyFilter);
  form.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.ariaPressed) press(button.value);
    else if (button.value === "clear") clearFilter();
    else expand(button.value === "expand");
  });
  // A count in the head leads to its cases and shows no others.
  for (const link of all("a[data-show]")) {
    link.addEventListener("click", () => { clearFilter(); press(link.dataset.show); });
  }
}
// What is printed is what did not pass, open, and the patches with what ran.
addEventListener("beforeprint", () => {
  for (const box of all(".cause > .case, .covered")) box.open = true;
});

addCopyButtons(document);
reveal();
