// Asks for the state of the results every two seconds, and draws what changed. All text is set as text.
(() => {
  const SVG = "http://www.w3.org/2000/svg", WIDTH = 420, HEIGHT = 250, LEFT = 46, TOP = 10, RIGHT = 390, BOTTOM = 214;
  const at = (id) => document.getElementById(id);
  const make = (name, text = "", attributes = {}) => {
    const element = document.createElement(name);
    element.textContent = text;
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const draw = (name, attributes, text = "") => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = text;
    return element;
  };
  const short = (value) => (value === null || value === undefined ? "" : String(+value.toPrecision(3)));
  const seconds = (value) => {
    if (value < 90) return `${Math.ceil(value / 10) * 10} seconds`;
    return value < 5400 ? `${Math.round(value / 60)} minutes` : `${(value / 3600).toFixed(1)} hours`;
  };
  const shown = {};
  // What did not change is not made anew, so that nobody's selection or scrolling is lost.
  const changed = (name, value) => {
    const text = JSON.stringify(value);
    if (shown[name] === text) return false;
    shown[name] = text;
    return true;
  };

  const picture = (frame, title) => {
    if (frame.url) return make("img", "", { src: frame.url, width: frame.width, height: frame.height, alt: `Samples of ${title}` });
    const plot = draw("svg", { class: "plot", viewBox: "0 0 400 400", role: "img", "aria-label": `Points of ${title}` });
    if (frame.surface) plot.append(draw("image", { href: frame.surface, width: 400, height: 400 }));
    plot.append(draw("path", { class: "points", d: frame.path }));
    for (const [x, y] of frame.modes) plot.append(draw("circle", { cx: x, cy: y, r: 9 }));
    return plot;
  };
  const showRunning = (trials) => {
    at("running").replaceChildren(...trials.map((trial, i) => {
      const figure = make("figure"), caption = make("figcaption", "", { class: `s${i % 28}` });
      if (trial.picture) figure.append(picture(trial.picture, trial.title));
      const share = trial.budget ? ` of ${trial.budget.toLocaleString("en")}` : "";
      caption.append(make("strong", trial.title), `: ${trial.images.toLocaleString("en")}${share} images`);
      if (trial.silent !== null) caption.append(make("span", `, nothing new for ${seconds(trial.silent)}: stopped?`, { class: "bad" }));
      figure.append(caption);
      return figure;
    }));
    if (!trials.length) at("running").append(make("p", "No trial is running.", { class: "note" }));
  };
  const showCurves = (trials, metric) => {
    const charts = [], datasets = new Map();
    trials.forEach((trial, i) => {
      const points = (trial.curves[metric] || []).filter((point) => point[1] !== null);
      if (!points.length) return;
      if (!datasets.has(trial.dataset)) datasets.set(trial.dataset, []);
      datasets.get(trial.dataset).push({ trial, i, points });
    });
    for (const [dataset, lines] of datasets) {
      const values = lines.flatMap((line) => line.points.map((point) => point[1]));
      const most = Math.max(...lines.map((line) => line.trial.budget || line.points[line.points.length - 1][0]), 1);
      let low = Math.min(...values), high = Math.max(...values);
      const log = low > 0 && high > 15 * low;
      if (high === low) { low -= 0.5; high += 0.5; }
      const share = (value) => (log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low));
      const place = ([x, y]) => `${(LEFT + (RIGHT - LEFT) * x / most).toFixed(1)} ${(BOTTOM - (BOTTOM - TOP) * share(y)).toFixed(1)}`;
      const figure = make("figure", "", { class: "chart" });
      const chart = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title(trials, metric)} on ${dataset}, ${lines.length} running trials` });
      const grid = draw("g", { class: "grid" }), axis = draw("g", { class: "axis" });
      for (const part of [0, 0.5, 1]) {
        const y = BOTTOM - (BOTTOM - TOP) * part, value = log ? low * (high / low) ** part : low + (high - low) * part;
        grid.append(draw("path", { d: `M${LEFT} ${y}H${RIGHT}` }), draw("text", { x: LEFT - 6, y, dy: 4 }, short(value)));
        axis.append(draw("text", { x: LEFT + (RIGHT - LEFT) * part, y: BOTTOM + 16 }, Math.round(most * part).toLocaleString("en")));
      }
      axis.append(draw("text", { x: (LEFT + RIGHT) / 2, y: BOTTOM + 31 }, "real images seen"));
      chart.append(grid, axis, draw("path", { class: "frame", d: `M${LEFT} ${TOP}V${BOTTOM}H${RIGHT}` }));
      for (const { trial, i, points } of lines) {
        const line = draw("g", { class: `line s${i % 28}` });
        const path = draw("path", { d: `M${points.map(place).join("L")}${points.length > 1 ? "" : "h0"}` });
        path.append(draw("title", {}, trial.title));
        line.append(path);
        chart.append(line);
      }
      const keys = make("div", "", { class: "keys" });
      for (const { trial, i, points } of lines) {
        const key = make("span", `${trial.title.split(" on ")[0]}, seed ${trial.title.split("seed").pop().trim()}: ${short(points[points.length - 1][1])}`, { class: `key s${i % 28}` });
        const swatch = draw("svg", { class: `swatch line s${i % 28}`, viewBox: "0 0 28 14", "aria-hidden": "true" });
        swatch.append(draw("path", { class: "l", d: "M1 7h26" }));
        key.prepend(swatch, " ");
        keys.append(key);
      }
      figure.append(make("figcaption", `${title(trials, metric)} on ${dataset}${log ? ", log scale" : ""}`), chart);
      const block = make("div");
      block.append(figure, keys);
      charts.push(block);
    }
    at("curves").replaceChildren(...charts);
  };
  const showTables = (tables) => {
    at("tables").replaceChildren(...tables.flatMap(({ title, note, head, rows }) => {
      const scroll = make("div", "", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Leaderboard of ${title}` });
      const table = make("table"), top = table.createTHead().insertRow(), body = table.createTBody();
      head.forEach((text, i) => top.append(make("th", text, i === 2 ? { scope: "col", class: "name" } : { scope: "col" })));
      for (const row of rows) {
        const line = body.insertRow();
        row.forEach((text, i) => line.append(i === 2 ? make("th", text, { scope: "row", class: "name" }) : make("td", text)));
      }
      scroll.append(table);
      return [make("h3", title), make("p", note, { class: "note" }), scroll];
    }));
    if (!tables.length) at("tables").append(make("p", "No trial is finished yet.", { class: "note" }));
  };
  const showFailures = (failures, problems) => {
    at("failures").replaceChildren(...problems.map((text) => make("li", `damaged: ${text}`, { class: "bad" })), ...failures.map((failure) => {
      const item = make("li");
      item.append(make("strong", failure.title), `: ${failure.why}`);
      return item;
    }));
    if (!failures.length && !problems.length) at("failures").append(make("li", "None.", { class: "muted" }));
  };
  const title = (trials, metric) => trials.map((trial) => trial.titles[metric]).find(Boolean) || metric;
  const showMetrics = (trials) => {
    const names = Array.from(new Set(trials.flatMap((trial) => Object.keys(trial.curves)))), choice = at("metric");
    choice.closest("p").hidden = !names.length;
    if (names.length && changed("names", names)) {
      const primary = trials.map((trial) => trial.primary).find((name) => names.includes(name));
      const before = choice.value || primary || (names.includes("fid") ? "fid" : names[0]);
      choice.replaceChildren(...names.map((name) => new Option(title(trials, name), name)));
      choice.value = names.includes(before) ? before : names[0];
    }
  };

  let state = null;
  const show = () => {
    const parts = [`${state.finished} ${state.planned ? `of ${state.planned} ` : ""}trials finished, ${state.running.length} running`];
    if (state.waiting) parts.push(`${state.waiting} waiting`);
    if (state.seconds_left !== null) parts.push(`about ${seconds(state.seconds_left)} left`);
    const told = `${parts.join(", ")}.`;
    if (at("told").textContent !== told) at("told").textContent = told;
    at("told").classList.remove("bad");
    at("share").hidden = state.share === null;
    if (state.share !== null) at("share").value = state.share;
    showMetrics(state.running);
    const metric = at("metric").value;
    if (changed("running", state.running)) showRunning(state.running);
    if (changed("curves", [metric, state.running.map((trial) => [trial.title, trial.budget, trial.curves[metric]])])) showCurves(state.running, metric);
    if (changed("failures", [state.failures, state.problems])) showFailures(state.failures, state.problems);
    if (changed("tables", state.tables)) showTables(state.tables);
  };
  const ask = async () => {
    try {
      if (!document.hidden) {
        const answer = await fetch("state.json", { cache: "no-store" });
        if (!answer.ok) throw new Error(`it answered ${answer.status}`);
        state = await answer.json();
        show();
      }
    } catch (reason) {
      at("told").textContent = `ganbench watch does not answer (${reason.message}); what stands here is the last it told.`;
      at("told").classList.add("bad");
    }
    setTimeout(ask, 2000);
  };
  at("metric").addEventListener("change", () => state && show());
  ask();
})();
