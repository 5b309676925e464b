
(() => {
  // A listener's blind comparison of the page's own players. Nothing leaves the page but what is saved on request.
  const dialog = document.getElementById("blind-dialog");
  const start = document.getElementById("blind-start");
  const outcome = document.getElementById("blind-outcome");
  const hidden = document.getElementById("blind-hidden");
  const original = dialog.dataset.original;
  const ids = JSON.parse(dialog.dataset.ids);
  const levels = JSON.parse(dialog.dataset.levels);
  const clips = [...document.querySelectorAll(".clip")]
    .map((root, index) => ({
      id: ids[index],
      sources: new Map(
        [...root.querySelectorAll(".version")]
          .filter((figure) => figure.querySelector("audio"))
          .map((figure) => [figure.querySelector(".name").textContent, figure.querySelector("audio").src]),
      ),
    }))
    .filter((clip) => clip.sources.has(original));
  const KEYS = { o: "original", a: "a", b: "b" };
  const VOTES = { ArrowLeft: "a", ArrowDown: "same", ArrowRight: "b" };
  let trials = [];
  let at = 0;
  let players = {};
  let playing = null;
  let last = null;
  let heard = new Set();
  let shown = 0;

  function shuffled(list) {
    for (let last = list.length - 1; last > 0; last -= 1) {
      const other = Math.floor(Math.random() * (last + 1));
      [list[last], list[other]] = [list[other], list[last]];
    }
    return list;
  }

  function plan() {
    const pairs = [];
    for (const clip of clips) {
      const names = [...clip.sources.keys()].filter((name) => hidden.checked || name !== original);
      names.forEach((name, index) => names.slice(index + 1).forEach((other) => pairs.push({ clip, names: [name, other] })));
    }
    return shuffled(pairs).map(({ clip, names: pair }) => {
      const [a, b] = shuffled([...pair]);
      return { clip, a, b, choice: null, seconds: 0 };
    });
  }

  function make(name, text, attributes = {}, parent = null) {
    const it = document.createElement(name);
    it.textContent = text;
    for (const [key, value] of Object.entries(attributes)) it.setAttribute(key, value);
    if (parent) parent.append(it);
    return it;
  }

  function button(parent, text, key, action, attributes = {}) {
    const it = make("button", "", { type: "button", ...attributes }, parent);
    it.append(text, ...(key ? [" ", make("kbd", key)] : []));
    it.addEventListener("click", action);
    return it;
  }

  function stop() {
    for (const sound of Object.values(players)) sound.pause();
    playing = null;
    mark();
  }

  // All versions of a trial are turned down to the quietest of them: what is louder is easily taken for better.
  function load(trial) {
    stop();
    const names = { original, a: trial.a, b: trial.b };
    const quietest = Math.min(...Object.values(names).map((name) => levels[trial.clip.id][name]));
    players = {};
    last = null;
    for (const [role, name] of Object.entries(names)) {
      const sound = new Audio(trial.clip.sources.get(name));
      sound.loop = true;
      sound.volume = Math.min(1, 10 ** ((quietest - levels[trial.clip.id][name]) / 20));
      players[role] = sound;
    }
    heard = new Set();
    shown = performance.now();
  }

  // The same moment goes on in the other version, which is what the ear needs to hear a difference.
  function hear(role) {
    const sound = players[role];
    if (playing === role) {
      stop();
      return;
    }
    const moment = last ? players[last].currentTime : 0;
    stop();
    sound.currentTime = Number.isFinite(sound.duration) ? Math.min(moment, sound.duration) : moment;
    sound.play().catch(() => {}); // refused until the page was touched: nothing to do about it
    playing = last = role;
    heard.add(role);
    mark();
  }

  function mark() {
    for (const it of dialog.querySelectorAll("[data-role]")) it.setAttribute("aria-pressed", String(it.dataset.role === playing));
    const ready = heard.has("a") && heard.has("b");
    for (const it of dialog.querySelectorAll("[data-vote]")) it.disabled = !ready;
    const hint = dialog.querySelector(".hint");
    if (hint) hint.textContent = ready ? "Another key goes on from the same moment; Space pauses." : "Hear A and B, then choose.";
  }

  function vote(choice) {
    if (!heard.has("a") || !heard.has("b")) return;
    trials[at].choice = choice;
    trials[at].seconds = Math.round((performance.now() - shown) / 100) / 10;
    at += 1;
    if (at === trials.length) finish();
    else show();
  }

  function back() {
    if (at === 0) return;
    at -= 1;
    trials[at].choice = null;
    show();
  }

  function show() {
    const trial = trials[at];
    load(trial);
    dialog.replaceChildren();
    const top = make("div", "", { class: "top" }, dialog);
    make("span", `Comparison ${at + 1} of ${trials.length}`, { id: "blind-place", "aria-live": "polite" }, top);
    make("progress", "", { max: trials.length, value: at, "aria-label": "Comparisons that are done" }, dialog);
    make("h2", "Which is nearer to the original?", {}, dialog);
    const hearing = make("div", "", { class: "hear", role: "group", "aria-label": "Play" }, dialog);
    button(hearing, "A", "a", () => hear("a"), { "data-role": "a" });
    button(hearing, "Original", "o", () => hear("original"), { "data-role": "original" });
    button(hearing, "B", "b", () => hear("b"), { "data-role": "b" });
    make("p", "", { class: "hint" }, dialog);
    const voting = make("div", "", { class: "vote", role: "group", "aria-label": "Choose" }, dialog);
    button(voting, "A is nearer", "←", () => vote("a"), { "data-vote": "a" });
    button(voting, "No difference", "↓", () => vote("same"), { "data-vote": "same" });
    button(voting, "B is nearer", "→", () => vote("b"), { "data-vote": "b" });
    const bottom = make("div", "", { class: "bottom" }, dialog);
    const undo = button(bottom, "Back", "Backspace", back);
    undo.disabled = at === 0;
    button(bottom, "Interrupt", "Esc", () => dialog.close());
    button(bottom, "End and show the names", "", finish);
    mark();
    dialog.focus();
  }

  const preferred = (trial) => (trial.choice === "same" ? "" : trial[trial.choice]);

  function answers() {
    return trials
      .filter((trial) => trial.choice)
      .map((trial, index) => ({
        number: index + 1, clip: trial.clip.id, a: trial.a, b: trial.b,
        choice: trial.choice, preferred: preferred(trial), seconds: trial.seconds,
      }));
  }

  // How likely chance alone splits the decided answers at least so unevenly: the exact two-sided sign test.
  function chance(wins, losses) {
    const count = wins + losses;
    let term = 0.5 ** count, total = 0;
    for (let number = 0; number <= Math.min(wins, losses); number += 1) {
      total += term;
      term *= (count - number) / (number + 1);
    }
    return Math.min(1, 2 * total);
  }

  function summary(given) {
    const pairs = new Map();
    for (const answer of given) {
      const [first, second] = [answer.a, answer.b].sort();
      const key = JSON.stringify([first, second]);
      const pair = pairs.get(key) || { first, second, first_preferred: 0, second_preferred: 0, no_difference: 0 };
      if (!answer.preferred) pair.no_difference += 1;
      else if (answer.preferred === first) pair.first_preferred += 1;
      else pair.second_preferred += 1;
      pairs.set(key, pair);
    }
    return [...pairs.values()].map((pair) => ({ ...pair, sign_test_p: chance(pair.first_preferred, pair.second_preferred) }));
  }

  function table(parent, name, heads, rows) {
    const scroll = make("div", "", { class: "scroll", tabindex: "0", role: "region", "aria-label": name }, parent);
    const grid = make("table", "", {}, scroll);
    const head = make("tr", "", {}, make("thead", "", {}, grid));
    heads.forEach((text) => make("th", text, { scope: "col" }, head));
    const body = make("tbody", "", {}, grid);
    for (const [first, ...rest] of rows) {
      const row = make("tr", "", {}, body);
      make("th", first, { scope: "row" }, row);
      rest.forEach((text) => make("td", text, {}, row));
    }
  }

  function save(name, type, text) {
    const address = URL.createObjectURL(new Blob([text], { type }));
    make("a", "", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }

  function csv(given) {
    const columns = ["number", "clip", "a", "b", "choice", "preferred", "seconds"];
    const quoted = (value) => `"${String(value).replaceAll('"', '""')}"`;
    return [columns, ...given.map((answer) => columns.map((column) => answer[column]))]
      .map((row) => row.map(quoted).join(",") + "\r\n")
      .join("");
  }

  function finish() {
    stop();
    dialog.close();
    const given = answers();
    const pairs = summary(given);
    const content = { title: dialog.dataset.title, date: new Date().toISOString(), pairs, answers: given };
    outcome.replaceChildren();
    start.replaceChildren("Start again");
    trials = [];
    if (!given.length) {
      make("p", "Nothing was chosen.", { class: "note" }, outcome);
      return;
    }
    const heading = make("h3", "What you preferred", { tabindex: "-1" }, outcome);
    table(outcome, "What you preferred", ["Pair", "First nearer", "Second nearer", "No difference", "Chance"], pairs.map((pair) => [
      `${pair.first} or ${pair.second}`, pair.first_preferred, pair.second_preferred, pair.no_difference, pair.sign_test_p.toFixed(3),
    ]));
    make("p", "Chance: how likely guessing alone splits the decided answers at least so unevenly (sign test).", {}, outcome);
    const saves = make("p", "", { class: "saves" }, outcome);
    button(saves, "Save as JSON", "", () => save("blind-test.json", "application/json", JSON.stringify(content, null, 1)));
    button(saves, "Save as CSV", "", () => save("blind-test.csv", "text/csv", csv(given)));
    table(outcome, "Your answers", ["Clip", "A", "B", "Nearer"], given.map((answer) => [
      answer.clip, answer.a, answer.b, answer.preferred || "no difference",
    ]));
    heading.focus();
  }

  start.addEventListener("click", () => {
    for (const sound of document.querySelectorAll("audio")) sound.pause();
    if (!trials.length) {
      trials = plan();
      at = 0;
    }
    if (!trials.length) {
      outcome.replaceChildren(make("p", "This page holds no pair of sounds to compare.", { class: "note" }));
      return;
    }
    dialog.showModal();
    show();
  });

  dialog.addEventListener("close", () => {
    stop();
    if (trials.length) start.replaceChildren(`Go on with comparison ${at + 1} of ${trials.length}`);
  });

  // Before the page's own shortcuts: they would play versions by name.
  document.addEventListener("keydown", (event) => {
    if (!dialog.open) return;
    event.stopImmediatePropagation();
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const onButton = event.target.closest("button");
    if (event.key.toLowerCase() in KEYS) hear(KEYS[event.key.toLowerCase()]);
    else if (event.key in VOTES) vote(VOTES[event.key]);
    else if (event.key === "Backspace") back();
    else if (event.key === " " && !onButton) hear(last || "a");
    else return;
    event.preventDefault();
  }, true);
})();
