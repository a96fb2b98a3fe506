// Runs in a page of a trace: visits every step, and sends what is wrong to the window around it.
"use strict";
const problems = [];
const note = text => problems.length < 20 && problems.push(text);
addEventListener("error", event => note(`error: ${event.message}`));
addEventListener("unhandledrejection", event => note(`error: ${event.reason}`));
console.error = (...parts) => note(`console: ${parts.join(" ")}`);
const press = (key, at = document.body) => at.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));

// Whether both sides of "E₂[1] = (0.3 · (−0.07)) · 0.25 = −0.0053" differ by more than the four digits of each number.
function wrong(text) {
  const [, sum, result] = text.replaceAll("−", "-").replaceAll("·", "*").split(" = ");
  if (!/^[\d.e+*()\s-]+$/.test(sum)) return false;  // "…" stands for what is left out
  const scale = Function(`return ${sum.replaceAll("-", "+")}`)();  // the same sum of absolute values
  return Math.abs(Function(`return ${sum}`)() - result) > 2e-3 * Math.abs(scale);
}

async function look(where, only) {
  const output = document.querySelector("#now output"), width = document.documentElement;
  if (width.scrollWidth > width.clientWidth) note(`${where}: ${width.scrollWidth} px wide in a window of ${width.clientWidth}`);
  const text = document.getElementById("now").textContent + document.getElementById("live").textContent;
  if (/NaN|undefined|\[object/.test(text)) note(`${where}: ${text.match(/.{0,30}(NaN|undefined|\[object).{0,30}/)[0]}`);
  if (!document.querySelector("#now h2").textContent) note(`${where}: no title`);
  if (output && wrong(output.textContent)) note(`${where}: ${output.textContent}`);
  if (!window.axe) return 0;
  const found = await axe.run(document, only ? {runOnly: [only]} : {});
  found.violations.forEach(one => note(`${where}: axe ${one.id}: ${one.help}: ${one.nodes[0].html.slice(0, 100)}`));
  return found.passes.length;
}

async function visit(only) {
  const last = +document.getElementById("at").max, dark = document.documentElement.dataset.theme || "light";
  let worked = 0, passes = 0;
  press("Home");
  for (let step = 1; step <= last; step++) {
    if (document.getElementById("count").textContent !== `${step} of ${last}`) note(`the right arrow does not lead to step ${step}`);
    passes += await look(`${dark}, step ${step}`, only);
    const first = document.querySelector("#now output")?.textContent;
    for (let number = 1; first && number < 50; number++) {
      press("ArrowDown", document.querySelector("#now .work"));
      worked++;
      const now = document.querySelector("#now output").textContent;
      if (now === first) break;
      if (wrong(now)) note(`step ${step}: ${now}`);
    }
    press("ArrowRight");
  }
  press("ArrowRight");
  if (document.getElementById("count").textContent !== `${last} of ${last}`) note("the last step has a next one");
  dispatchEvent(new Event("beforeprint"));
  if (document.querySelectorAll("#all .step").length !== last) note("a print has not all steps");
  dispatchEvent(new Event("afterprint"));
  return {steps: last, worked, passes};
}

addEventListener("load", async () => {
  let found = {};
  try {
    const [, begin] = /step=(\d+)/.exec(location.hash) || [0, 1];
    if (+document.getElementById("at").value !== +begin) note(`the address asks for step ${begin}, the page shows another`);
    found = await visit();
    document.getElementById("theme").click();
    const other = await visit("color-contrast");  // the only rule that depends on the colours
    found.passes += other.passes;
    document.getElementById("sample").selectedIndex = document.getElementById("sample").length - 1;
    document.getElementById("sample").dispatchEvent(new Event("change"));
    await look("the last sample");
  } catch (error) { note(`the check failed: ${error.stack}`); }
  parent.postMessage({problems, ...found}, "*");
});
