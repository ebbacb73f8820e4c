"use strict";
// The page says all without this.  It filters the list and moves through the matrix by arrow keys.
const box = document.getElementById("filter");
if (box) {
  box.closest(".filter").hidden = false;
  const rows = [...document.querySelectorAll("#all tbody tr")].map((row) => [row, `${row.textContent} ${row.className}`.toLowerCase()]);
  const filter = () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const [row, text] of rows) {
      row.hidden = !words.every((word) => text.includes(word));
      count += !row.hidden;
    }
    document.getElementById("shown").textContent = words.length ? `${count} of ${rows.length}` : "";
  };
  box.addEventListener("input", filter);
  filter();
}
for (const grid of document.querySelectorAll(".grid")) {
  const rows = [...grid.querySelectorAll("tbody tr")].map((row) => [...row.querySelectorAll("td")]);
  const said = grid.parentElement.querySelector(".said");
  let y = -1;
  let x = 0;
  const go = (row, column) => {
    if (y >= 0) rows[y][x].classList.remove("at");
    y = Math.max(0, Math.min(rows.length - 1, row));
    x = Math.max(0, Math.min(rows[y].length - 1, column));
    const square = rows[y][x];
    square.classList.add("at");
    square.scrollIntoView({ block: "nearest", inline: "nearest" });
    said.textContent = square.title || "not run";
  };
  grid.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (step) {
      event.preventDefault();
      if (y < 0) go(0, 0);
      else go(y + step[0], x + step[1]);
    } else if (event.key === "Enter" && y >= 0) {
      rows[y][x].querySelector("a")?.click();
    }
  });
  grid.addEventListener("click", (event) => {
    const square = event.target.closest("td");
    const row = rows.findIndex((squares) => squares.includes(square));
    if (row >= 0) go(row, rows[row].indexOf(square));
  });
}
