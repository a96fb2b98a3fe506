// Runs in a page beside the site: opens every page in a frame, and writes what is wrong into #found.
"use strict";
const frame = document.querySelector("iframe"), problems = [];
let passes = 0;

function open(page, width) {
  frame.width = width;
  return new Promise(done => { frame.onload = done; frame.src = page; });
}

async function rules(where, only) {
  if (!axe) return;
  const inside = frame.contentWindow;
  if (!inside.axe) inside.eval(axe);
  const found = await inside.axe.run(inside.document, only ? {runOnly: [only]} : {});
  passes += found.passes.length;
  for (const one of found.violations) problems.push(`${where}: axe ${one.id}: ${one.help}: ${one.nodes[0].html.slice(0, 120)}`);
}

addEventListener("load", async () => {
  for (const page of pages) {
    try {
      for (const width of [1300, 360]) {
        await open(page, width);
        const inside = frame.contentDocument, root = inside.documentElement;
        if (root.scrollWidth > root.clientWidth) problems.push(`${page}: ${root.scrollWidth} px wide in a window of ${width}`);
        if (width === 360 && /^(minidl|examples)\//.test(page)) continue;  // one block of code, as in the wide window
        for (const theme of ["light", "dark"]) {
          inside.body.dataset.theme = theme;
          await rules(`${page}, ${theme}, ${width} px`, theme === "dark" && "color-contrast");
        }
      }
    } catch (error) { problems.push(`${page}: the check failed: ${error}`); }
  }
  document.getElementById("found").textContent = JSON.stringify({problems, passes});
});
