"use strict";
// The page says all without this.  It opens what a link leads to, and copies commands.
function reveal() {
  let node = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  for (; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
}
addEventListener("hashchange", reveal);
reveal();
for (const box of document.querySelectorAll("pre.cmd")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(box.querySelector("code").textContent);
      button.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(box.querySelector("code"));
      button.textContent = "selected";
    }
  });
  box.append(button);
}
