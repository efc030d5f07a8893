// What a reader chooses stands in the fragment of the address: #section&q=name&verdict=word&hide=metric&x=axis&sort=section~column~direction
(() => {
  const controls = document.querySelector(".controls");
  const all = (selector, where = document) => Array.from(where.querySelectorAll(selector));
  const sections = all("main > section");
  const light = (section, key) => {
    section.classList.toggle("lit", key !== null);
    for (const item of all(".line, .dot, .n", section)) item.classList.toggle("on", item.dataset.v === key);
  };
  for (const section of sections) {
    const pressed = () => section.querySelector(".key[aria-pressed=true]");
    const over = (event) => {
      const item = event.target.closest("[data-v]");
      light(section, item ? item.dataset.v : pressed() ? pressed().dataset.v : null);
    };
    const block = section.querySelector(".keys");
    if (!block) continue;
    block.parentNode.addEventListener("pointerover", over);
    block.parentNode.addEventListener("pointerleave", over);
    block.addEventListener("focusin", over);
    block.addEventListener("focusout", () => light(section, pressed() ? pressed().dataset.v : null));
    block.addEventListener("click", (event) => {
      const key = event.target.closest(".key");
      if (!key) return;
      const on = key.getAttribute("aria-pressed") === "true";
      for (const other of all(".key", block)) other.setAttribute("aria-pressed", String(other === key && !on));
      light(section, on ? null : key.dataset.v);
    });
  }
  // A question mark in a heading leads to the word, and does not sort.
  let follow = () => {};
  document.addEventListener("click", (event) => {
    if (!event.target.closest("thead a")) return;
    event.stopImmediatePropagation();
    follow(event);
  }, true);
  if (!controls) return;
  const filter = document.getElementById("filter"), verdict = document.getElementById("verdict");
  const axis = document.getElementById("axis"), shown = document.getElementById("shown");
  const choices = document.querySelector(".choices"), hidden = new Set(), sorted = new Map();
  let target = "";
  // Rows by their place, not their tbody: sorting puts another one there.
  const initial = all("table.sortable").map((table) => [table, Array.from(table.tBodies, (body) => Array.from(body.rows))]);

  const words = new Set(), columns = new Map();
  for (const row of all("tr[data-words]")) for (const word of row.dataset.words.split(" ")) if (word) words.add(word);
  for (const word of Array.from(words).sort()) verdict.add(new Option(word, word));
  for (const head of all("th[data-m]")) {
    if (!columns.has(head.dataset.m)) columns.set(head.dataset.m, head.querySelector("button").firstChild.data.trim());
  }
  for (const [name, text] of columns) {
    const label = document.createElement("label"), box = document.createElement("input");
    box.type = "checkbox";
    box.value = name;
    label.append(box, " ", text);
    choices.append(label);
  }

  const showAxis = (name) => {
    for (const line of all(".chart g[data-images]")) {
      const factor = line.dataset[name];
      line.toggleAttribute("hidden", factor === undefined);
      line.setAttribute("transform", `translate(46 0) scale(${factor || 1} 1) translate(-46 0)`);
    }
    for (const chart of all(".chart svg")) {
      const has = all(".axis", chart).some((each) => each.dataset.axis === name);
      for (const each of all(".axis", chart)) each.toggleAttribute("hidden", each.dataset.axis !== (has ? name : "images"));
    }
  };
  const showRows = () => {
    let rows = 0, total = 0;
    const keptSomewhere = new Set();
    const text = filter.value.toLowerCase();
    for (const section of sections) {
      const keep = new Map();
      for (const row of all("tr[data-words]", section)) {
        const named = row.dataset.name.toLowerCase().includes(text);
        const judged = !verdict.value || row.dataset.words.split(" ").includes(verdict.value);
        keep.set(row.dataset.v, named && judged);
        if (named && judged) keptSomewhere.add(row.dataset.v);
        row.hidden = !(named && judged);
        total += 1;
        rows += named && judged;
      }
      for (const item of all(".figures > [data-v], .key[data-v], .chart [data-v]", section)) {
        item.classList.toggle("out", keep.has(item.dataset.v) && !keep.get(item.dataset.v));
      }
    }
    for (const item of all("#across :is(tr, .key, .chart g, .n)[data-v]")) item.classList.toggle("out", !keptSomewhere.has(item.dataset.v));
    shown.textContent = rows === total ? "" : `${rows} of ${total} rows`;
  };
  const showColumns = () => {
    for (const cell of all("[data-m]")) cell.hidden = hidden.has(cell.dataset.m);
    for (const box of all("input", choices)) box.checked = !hidden.has(box.value);
  };
  const store = () => {
    const state = new URLSearchParams();
    if (filter.value) state.set("q", filter.value);
    if (verdict.value) state.set("verdict", verdict.value);
    if (axis.value !== "images") state.set("x", axis.value);
    if (hidden.size) state.set("hide", Array.from(hidden).join(","));
    for (const [id, order] of sorted) state.append("sort", [id, ...order].join("~"));
    const text = [target, state.toString()].filter(Boolean).join("&");
    if (location.hash.slice(1) !== text) history.replaceState(null, "", `#${text}`);
  };
  const restore = () => {
    const parts = location.hash.slice(1).split("&");
    target = parts[0].includes("=") ? "" : parts[0];
    const state = new URLSearchParams(parts.filter((part) => part.includes("=")).join("&"));
    filter.value = state.get("q") || "";
    verdict.value = words.has(state.get("verdict")) ? state.get("verdict") : "";
    axis.value = ["images", "updates", "seconds"].includes(state.get("x")) ? state.get("x") : "images";
    hidden.clear();
    for (const name of (state.get("hide") || "").split(",")) if (columns.has(name)) hidden.add(name);
    showAxis(axis.value);
    showRows();
    showColumns();
    for (const order of state.getAll("sort")) {
      const [id, column, direction] = order.split("~");
      const section = sections.find((each) => each.id === id);
      const head = section && all("thead th[data-k]", section).find((each) => each.dataset.k === column);
      if (!head || (sorted.get(id) || []).join() === [column, direction].join()) continue;
      head.removeAttribute("aria-sort");
      section.querySelector("table.sortable").classList.toggle("asc", direction === "ascending");
      head.dataset.asked = "yes";
      head.click();
    }
    const place = target && document.getElementById(target);
    if (place) place.scrollIntoView();
  };

  // A link on the page goes to its place and leaves what the reader has chosen.
  follow = (event) => {
    const link = event.target.closest("a[href^='#']");
    const place = link && document.getElementById(decodeURIComponent(link.hash.slice(1)));
    if (!place) return;
    event.preventDefault();
    target = link.hash.slice(1);
    store();
    place.scrollIntoView();
    place.focus({ preventScroll: true });
  };
  document.addEventListener("click", (event) => follow(event));
  // The first click on a column brings the best to the top.
  document.addEventListener("click", (event) => {
    const head = event.target.closest("table.sortable thead th");
    if (!head) return;
    if (!head.dataset.asked && !head.hasAttribute("aria-sort")) {
      head.closest("table").classList.toggle("asc", head.dataset.best !== "max");
    }
    delete head.dataset.asked;
  }, true);
  document.addEventListener("sort-end", (event) => {
    const head = event.target.querySelector("th[aria-sort]"), section = event.target.closest("section");
    if (!head || !section || !head.dataset.k) return;
    sorted.set(section.id, [head.dataset.k, head.getAttribute("aria-sort")]);
    store();
  });
  filter.addEventListener("input", () => { showRows(); store(); });
  verdict.addEventListener("change", () => { showRows(); store(); });
  axis.addEventListener("change", () => { showAxis(axis.value); store(); });
  choices.addEventListener("change", (event) => {
    if (event.target.checked) hidden.delete(event.target.value); else hidden.add(event.target.value);
    showColumns();
    store();
  });
  document.getElementById("reset").addEventListener("click", () => {
    for (const [table, bodies] of initial) bodies.forEach((rows, i) => table.tBodies[i].append(...rows));
    for (const head of all("th[aria-sort]")) head.removeAttribute("aria-sort");
    sorted.clear();
    target = "";
    filter.value = verdict.value = "";
    axis.value = "images";
    hidden.clear();
    showAxis("images");
    showRows();
    showColumns();
    store();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") document.getElementById("metrics").open = false;
  });
  window.addEventListener("hashchange", restore);

  // Rows of every trial are made when they are asked for: thousands of cells that most readers never see.
  const pages = "pages" in document.querySelector("main").dataset;
  let trials = null;
  const cell = (name, i) => {
    const column = trials[name];
    return column === undefined ? "" : Array.isArray(column) ? column[i] : column.texts[column.index[i]];
  };
  for (const block of all("details.every")) {
    block.addEventListener("toggle", () => {
      if (!block.open || block.querySelector("table")) return;
      trials = trials || JSON.parse(document.getElementById("trials").textContent);
      const section = block.closest("section");
      const metrics = all("thead th[data-k][data-m]", section).map((head) => head.dataset.m).filter((name) => trials[name]);
      const names = ["variant", "seed", "status", "verdict", "note", ...metrics, "trial"];
      const table = document.createElement("table"), scroll = document.createElement("div");
      table.className = "sortable asc n-last";
      const top = table.createTHead().insertRow();
      for (const name of names) {
        const head = document.createElement("th"), button = document.createElement("button");
        button.type = "button";
        button.textContent = columns.get(name) || name;
        head.scope = "col";
        const best = section.querySelector(`th[data-m="${CSS.escape(name)}"][data-best]`);
        if (best) head.dataset.best = best.dataset.best;
        head.append(button);
        top.append(head);
      }
      const body = table.createTBody(), count = (trials.seed || []).length;
      for (let i = 0; i < count; i += 1) {
        if (cell("dataset", i) !== section.dataset.dataset || cell("protocol", i) !== section.dataset.protocol) continue;
        const row = body.insertRow();
        for (const name of names) {
          const value = cell(name, i), place = row.insertCell();
          const number = typeof value === "number" && name !== "seed";
          place.textContent = value === null ? "" : number ? String(+value.toPrecision(4)) : String(value);
          if (number) place.dataset.sort = value;
          if (name === "trial" && pages && /^[0-9a-f]{8}$/.test(value)) {
            const link = document.createElement("a");
            link.href = `trials/${value}.html`;
            link.textContent = value;
            place.replaceChildren(link);
          }
        }
      }
      scroll.className = "scroll";
      scroll.tabIndex = 0;
      scroll.append(table);
      block.append(scroll);
    });
  }

  controls.hidden = false;
  if (location.hash) restore(); else showColumns();
})();
