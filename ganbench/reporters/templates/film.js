// Plays the pictures of a training: a slider with a button, whose moment a line on every curve shows.
(() => {
  const film = document.querySelector(".film"), frames = Array.from(film ? film.querySelectorAll("figure") : []);
  if (frames.length < 2) return;
  const slider = document.createElement("input"), button = document.createElement("button"), bar = document.createElement("p");
  const last = frames.length - 1, unstable = frames.findIndex((frame) => frame.classList.contains("unstable"));
  let timer = 0;
  slider.type = "range";
  slider.max = last;
  slider.setAttribute("aria-label", "Moment of the training");
  button.type = "button";
  bar.className = "player";
  bar.append(button, slider);
  const cursors = Array.from(document.querySelectorAll(".learning .chart"), (chart) => {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    line.setAttribute("class", "cursor");
    chart.querySelector("svg").append(line);
    return (images) => {
      const { most, right } = chart.dataset;
      line.setAttribute("d", `M${46 + (right - 46) * images / most} 10V214`);
    };
  });
  const show = (i) => {
    frames.forEach((frame, k) => { frame.hidden = k !== i; });
    slider.value = i;
    slider.setAttribute("aria-valuetext", frames[i].querySelector("figcaption").textContent);
    for (const move of cursors) move(Number(frames[i].dataset.images));
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    button.textContent = "Play";
  };
  const play = () => {
    if (Number(slider.value) === last) show(0);
    button.textContent = "Pause";
    timer = setInterval(() => {
      show(Number(slider.value) + 1);
      if (Number(slider.value) === last) stop();
    }, 200);
  };
  button.addEventListener("click", () => (timer ? stop() : play()));
  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });
  if (unstable > 0) {
    const there = document.createElement("button");
    there.type = "button";
    there.textContent = frames[unstable].querySelector("strong").textContent;
    there.title = "The moment at which it became unstable";
    there.addEventListener("click", () => { stop(); show(unstable); });
    bar.append(there);
  }
  film.append(bar);
  film.classList.add("player-on");
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input, button, summary, a, .scroll") && event.target !== slider) return;
    if (event.key === " ") button.click();
    else if (event.target === slider) return;
    else if (event.key === "ArrowLeft") { stop(); show(Math.max(0, slider.value - 1)); }
    else if (event.key === "ArrowRight") { stop(); show(Math.min(last, Number(slider.value) + 1)); }
    else return;
    event.preventDefault();
  });
  stop();
  show(last);
})();
