"use strict";
// Shows the numbers of a chart's nearest step, by pointer or by arrow keys.
(() => {
  const tip = document.getElementById("tip");
  const show = (chart, numbers, step) => {
    const { left, right, width, steps } = chart.dataset;
    const share = steps > 1 ? step / (steps - 1) : 0.5;
    const x = Number(left) + share * (width - left - right);
    const cursor = chart.querySelector(".cursor");
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.style.visibility = "visible";
    const longest = Math.max(...numbers.map((s) => s.name.length));
    const lines = numbers.map((s) => {
      const value = s.values[step];
      const shown = value === null || value === undefined ? "none" : value === 0 ? "0" : value.toExponential(2);
      return s.name.padEnd(longest) + "  " + shown;
    });
    tip.textContent = "step " + step + "\n" + lines.join("\n");
    const box = chart.getBoundingClientRect();
    const at = box.left + (x / width) * box.width;
    const room = at + tip.offsetWidth + 16 < window.innerWidth;
    tip.style.left = (room ? at + 12 : at - tip.offsetWidth - 12) + "px";
    tip.style.top = Math.max(4, box.top + 8) + "px";
    tip.style.visibility = "visible";
  };
  const hide = (chart) => {
    chart.querySelector(".cursor").style.visibility = "hidden";
    tip.style.visibility = "hidden";
  };
  // Paper has no triangles to click: what is closed is opened for it, unless it would fill many pages.
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open]):not(.long)")];
    for (const details of opened) details.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const details of opened) details.open = false;
    opened = [];
  });
  for (const chart of document.querySelectorAll(".chart")) {
    const numbers = JSON.parse(document.getElementById(chart.id + "-numbers").textContent);
    const { left, right, width, steps } = chart.dataset;
    let current = 0;
    chart.addEventListener("pointermove", (event) => {
      const box = chart.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * width;
      const share = (x - left) / (width - left - right);
      current = Math.round(Math.min(1, Math.max(0, share)) * (steps - 1));
      show(chart, numbers, current);
    });
    chart.addEventListener("pointerleave", () => hide(chart));
    chart.addEventListener("focus", () => show(chart, numbers, current));
    chart.addEventListener("blur", () => hide(chart));
    chart.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -steps, End: +steps }[event.key];
      if (move === undefined) return;
      event.preventDefault();
      current = Math.min(steps - 1, Math.max(0, current + move));
      show(chart, numbers, current);
    });
  }
})();
