"use strict";
// Reads charts out under the pointer, zooms them, hides lines, searches logs. Everything that the
// page says stands in it without this script.
(() => {
  const WIDTH = 1000, HEIGHT = 240;
  document.documentElement.classList.add("scripted");

  const make = (name, className, parent) => {
    const element = document.createElement(name);
    element.className = className;
    parent.append(element);
    return element;
  };
  const short = value => {
    const size = Math.abs(value);
    if (value !== 0 && (size < 1e-4 || size >= 1e9)) return value.toExponential(3);
    return Number(value.toPrecision(6)).toLocaleString("en-US", {maximumFractionDigits: 12});
  };
  // The index of the step nearest to x in ascending steps.
  const nearest = (steps, x) => {
    let low = 0, high = steps.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (steps[middle] < x) low = middle + 1; else high = middle;
    }
    return low > 0 && x - steps[low - 1] < steps[low] - x ? low - 1 : low;
  };

  function chart(figure) {
    const data = JSON.parse(figure.querySelector("script.data").textContent);
    const plot = figure.querySelector(".plot"), svg = plot.querySelector("svg");
    const paths = [...svg.querySelectorAll("path.line")];
    const whole = {x: data.x, y: data.y}, shown = data.lines.map(() => true);
    const still = {ticks: figure.querySelector(".y").innerHTML, steps: figure.querySelector(".x").innerHTML};
    const cursor = make("div", "cursor", plot), read = make("div", "read", plot);
    const chosen = make("div", "chosen", plot);
    cursor.hidden = read.hidden = chosen.hidden = true;
    let view = whole, dragFrom = null, at = null;
    const moved = value => data.log ? Math.log10(value) : value;
    const across = x => (x - view.x[0]) / (view.x[1] - view.x[0]);
    const down = y => 1 - (moved(y) - moved(view.y[0])) / (moved(view.y[1]) - moved(view.y[0]));

    const draw = () => {
      data.lines.forEach((line, i) => {
        const from = Math.max(0, nearest(line.steps, view.x[0]) - 1);
        const to = Math.min(line.steps.length, nearest(line.steps, view.x[1]) + 2);
        let d = "";
        for (let k = from; k < to; k++)
          d += (d ? "L" : "M") + (WIDTH * across(line.steps[k])).toFixed(1) + " " + (HEIGHT * down(line.values[k])).toFixed(1);
        paths[i].setAttribute("d", shown[i] ? d : "");
      });
      const isWhole = view === whole;
      svg.querySelectorAll(".grid").forEach(g => { g.style.display = isWhole ? "" : "none"; });
      for (const [name, values] of [["zero", [0, 0]], ["band", data.fixed]]) {
        const element = svg.querySelector("." + name);
        if (!element) continue;
        const top = HEIGHT * down(values[1]), bottom = HEIGHT * down(values[0]);
        if (name === "zero") { element.setAttribute("y1", top); element.setAttribute("y2", top); }
        else { element.setAttribute("y", top); element.setAttribute("height", Math.max(bottom - top, .5)); }
      }
      figure.querySelector(".y").innerHTML = figure.querySelector(".x").innerHTML = "";
      if (isWhole) {
        figure.querySelector(".y").innerHTML = still.ticks;
        figure.querySelector(".x").innerHTML = still.steps;
      } else {
        for (const share of [0, .5, 1]) {
          const y = moved(view.y[0]) + (1 - share) * (moved(view.y[1]) - moved(view.y[0]));
          const label = make("span", "", figure.querySelector(".y"));
          label.textContent = short(Number((data.log ? 10 ** y : y).toPrecision(4)));
          label.style.top = 100 * share + "%";
          const step = make("span", "", figure.querySelector(".x"));
          step.textContent = Math.round(view.x[0] + share * (view.x[1] - view.x[0])).toLocaleString("en-US");
          step.style.left = 100 * share + "%";
        }
      }
    };
    const zoom = (from, to) => {
      const values = data.lines.flatMap((line, i) => shown[i] ? line.values.filter((_, k) => line.steps[k] >= from && line.steps[k] <= to) : []);
      if (!values.length) return;
      let low = values[0], high = values[0];
      for (const v of values) { if (v < low) low = v; if (v > high) high = v; }
      const space = (high - low) * .05 || Math.abs(high) * .1 || 1;
      view = {x: [from, to], y: data.log ? [low / 1.1, high * 1.1] : [low - space, high + space]};
      draw();
    };
    const show = x => {
      at = x;
      const lines = data.lines.filter((line, i) => shown[i] && line.steps.length);
      if (!lines.length) return;
      const points = lines.map(line => { const k = nearest(line.steps, x); return [line.name, line.steps[k], line.values[k]]; });
      const step = points.reduce((best, p) => Math.abs(p[1] - x) < Math.abs(best - x) ? p[1] : best, points[0][1]);
      read.textContent = "step " + step.toLocaleString("en-US") + points.map(p => "\n" + p[0] + "  " + short(p[2]) + (p[1] === step ? "" : " (step " + p[1].toLocaleString("en-US") + ")")).join("");
      const share = across(step);
      cursor.style.left = 100 * share + "%";
      read.style.left = share < .5 ? "calc(" + 100 * share + "% + 10px)" : "";
      read.style.right = share < .5 ? "" : "calc(" + 100 * (1 - share) + "% + 10px)";
      cursor.hidden = read.hidden = false;
    };
    const hide = () => { cursor.hidden = read.hidden = true; at = null; };
    const place = event => {
      const box = plot.getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      return [share, view.x[0] + share * (view.x[1] - view.x[0])];
    };
    plot.tabIndex = 0;
    plot.title = "Drag to zoom, double-click for the whole; arrow keys read the values";
    plot.addEventListener("pointermove", event => {
      const [share, x] = place(event);
      show(x);
      plot.removeAttribute("title");
      if (dragFrom) {
        chosen.hidden = false;
        chosen.style.left = 100 * Math.min(share, dragFrom[0]) + "%";
        chosen.style.width = 100 * Math.abs(share - dragFrom[0]) + "%";
      }
    });
    plot.addEventListener("pointerdown", event => { if (event.pointerType === "mouse") { dragFrom = place(event); plot.setPointerCapture(event.pointerId); } });
    plot.addEventListener("pointerup", event => {
      const to = place(event), from = dragFrom;
      dragFrom = null;
      chosen.hidden = true;
      if (from && Math.abs(to[0] - from[0]) > .01) zoom(Math.min(from[1], to[1]), Math.max(from[1], to[1]));
    });
    plot.addEventListener("pointerleave", hide);
    plot.addEventListener("blur", hide);
    plot.addEventListener("dblclick", () => { view = whole; draw(); });
    plot.addEventListener("keydown", event => {
      const steps = data.lines.find((line, i) => shown[i] && line.steps.length)?.steps;
      if (!steps) return;
      const by = {ArrowLeft: -1, ArrowRight: 1, PageUp: -50, PageDown: 50}[event.key];
      if (by) {
        const k = at === null ? 0 : Math.min(steps.length - 1, Math.max(0, nearest(steps, at) + by));
        show(steps[k]);
        event.preventDefault();
      } else if (event.key === "Escape") { view = whole; draw(); hide(); }
    });
    figure.querySelectorAll(".key[data-line]").forEach(key => {
      const button = make("button", key.className, key.parentNode);
      key.replaceWith(button);
      button.type = "button";
      button.append(...key.childNodes);
      button.setAttribute("aria-pressed", "true");
      button.addEventListener("click", () => {
        const i = Number(key.dataset.line);
        shown[i] = !shown[i];
        button.setAttribute("aria-pressed", String(shown[i]));
        draw();
      });
    });
  }

  function search(box) {
    const lines = [...document.getElementById(box.dataset.log).querySelectorAll("div")];
    const told = box.parentNode.querySelector("output");
    const unmark = line => { const mark = line.querySelector("mark"); if (mark) { mark.replaceWith(mark.textContent); line.normalize(); } };
    let waiting = 0;
    const run = () => {
      const wanted = box.value.toLowerCase();
      let count = 0;
      for (const line of lines) {
        unmark(line);
        const text = line.lastChild, place = wanted && text.nodeType === 3 ? text.data.toLowerCase().indexOf(wanted) : -1;
        line.hidden = Boolean(wanted) && place < 0;
        if (place < 0) continue;
        count++;
        if (count <= 500) {
          const found = text.splitText(place);
          found.splitText(wanted.length);
          const mark = document.createElement("mark");
          mark.textContent = found.data;
          found.replaceWith(mark);
        }
      }
      told.textContent = wanted ? count.toLocaleString("en-US") + " lines" : "";
    };
    box.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(run, 120); });
  }

  // A link to a line inside a folded log opens it.
  const open = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let e = target; e; e = e.parentElement) if (e.tagName === "DETAILS") e.open = true;
    if (target) target.scrollIntoView();
  };
  addEventListener("hashchange", open);
  // Charts are made when they come into sight: a page of many opens as fast as one of few.
  const seen = new IntersectionObserver(entries => {
    for (const entry of entries) if (entry.isIntersecting) { seen.unobserve(entry.target); chart(entry.target); }
  }, {rootMargin: "300px"});
  document.querySelectorAll("figure.chart").forEach(figure => seen.observe(figure));
  document.querySelectorAll("input[type=search]").forEach(search);
  addEventListener("keydown", event => {
    if (event.target.closest("input, .plot") || event.ctrlKey || event.metaKey || event.altKey) return;
    const rel = {ArrowLeft: "prev", ArrowRight: "next"}[event.key];
    const link = rel && document.querySelector(`nav.pages a[rel=${rel}]`);
    if (link) link.click();
  });
  open();
})();
