"use strict";
(() => {
  const clips = [...document.querySelectorAll(".clip")]
    .map((root) => ({
      root,
      figures: [...root.querySelectorAll(".version")],
      sounds: [...root.querySelectorAll("audio")],
      buttons: [...root.querySelectorAll(".switch button")],
      chosen: 0,
    }))
    .filter((clip) => clip.sounds.length > 0);
  let active = null;

  const play = (sound) => sound.play().catch(() => {}); // refused until the page was touched: nothing to do about it

  function showChosen(clip) {
    clip.buttons.forEach((button, index) => button.setAttribute("aria-pressed", String(index === clip.chosen)));
    clip.figures.forEach((figure, index) => figure.classList.toggle("playing", index === clip.chosen));
  }

  function activate(clip) {
    if (active === clip) return;
    if (active) active.root.classList.remove("active");
    active = clip;
    clip.root.classList.add("active");
    showChosen(clip);
  }

  function seek(sound, seconds) {
    sound.currentTime = Number.isFinite(sound.duration) ? Math.min(seconds, sound.duration) : seconds;
  }

  // Another version of the same clip, from the same moment: it plays if the one before played, or if asked to.
  function choose(clip, index, start) {
    if (index >= clip.sounds.length) return;
    const before = clip.sounds[clip.chosen];
    const sound = clip.sounds[index];
    const playing = !before.paused || start;
    activate(clip);
    if (sound !== before) {
      before.pause();
      seek(sound, before.ended ? 0 : before.currentTime);
      clip.chosen = index;
    }
    showChosen(clip);
    draw(clip);
    if (playing) play(sound);
  }

  function draw(clip) {
    const sound = clip.sounds[clip.chosen];
    const at = sound.duration > 0 ? sound.currentTime / sound.duration : 0;
    clip.figures.forEach((figure) => figure.querySelector(".playhead").style.setProperty("--at", at.toFixed(4)));
  }

  function follow(clip) {
    draw(clip);
    if (!clip.sounds[clip.chosen].paused) requestAnimationFrame(() => follow(clip));
  }

  function move(by) {
    const next = clips[Math.max(0, Math.min(clips.length - 1, (active ? clips.indexOf(active) : -1) + by))];
    const playing = active && !active.sounds[active.chosen].paused;
    if (next === active) return;
    if (active) active.sounds[active.chosen].pause();
    activate(next);
    next.root.scrollIntoView({ block: "nearest" });
    if (playing) play(next.sounds[next.chosen]);
  }

  for (const clip of clips) {
    clip.sounds.forEach((sound, index) => {
      const canvas = clip.figures[index].querySelector(".canvas");
      const playhead = document.createElement("div");
      playhead.className = "playhead";
      canvas.append(playhead);
      canvas.addEventListener("click", (event) => {
        const box = canvas.getBoundingClientRect();
        const share = Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
        choose(clip, index, true);
        if (sound.duration > 0) seek(sound, share * sound.duration);
      });
      sound.addEventListener("play", () => {
        for (const other of document.querySelectorAll("audio")) if (other !== sound) other.pause();
        clip.chosen = index;
        activate(clip);
        showChosen(clip);
        follow(clip);
      });
      sound.addEventListener("seeked", () => index === clip.chosen && draw(clip));
    });
    clip.buttons.forEach((button, index) => button.addEventListener("click", () => choose(clip, index, true)));
  }

  document.addEventListener("keydown", (event) => {
    const wanted = document.getElementById("shortcuts");
    if (!clips.length || !wanted || !wanted.checked || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const own = event.target.closest("a, audio, button, input, summary, [tabindex]");
    if (event.key === " " && !own) {
      if (!active) activate(clips[0]);
      const sound = active.sounds[active.chosen];
      if (sound.paused) play(sound);
      else sound.pause();
    } else if (/^[1-9]$/.test(event.key)) {
      choose(active || clips[0], Number(event.key) - 1, false);
    } else if (event.key === "n") {
      move(1);
    } else if (event.key === "p") {
      move(-1);
    } else {
      return;
    }
    event.preventDefault();
  });

  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", async () => {
      const code = button.parentElement.querySelector("code");
      try {
        await navigator.clipboard.writeText(code.textContent + "\n");
        button.textContent = "Copied";
        setTimeout(() => (button.textContent = "Copy"), 2000);
      } catch {
        getSelection().selectAllChildren(code); // no clipboard for this page: then it is one key for the reader
      }
    });
  }

  // The gallery of a model's clips: a picture plays its sound, one at a time.
  const cells = [...document.querySelectorAll(".gallery .cell")];
  for (const cell of cells) {
    const sound = cell.nextElementSibling;
    const show = () => cell.setAttribute("aria-pressed", String(!sound.paused));
    for (const event of ["play", "pause", "ended"]) sound.addEventListener(event, show);
    cell.addEventListener("click", () => {
      const starts = sound.paused;
      document.querySelectorAll("audio").forEach((other) => other.pause());
      if (starts) {
        sound.currentTime = 0;
        play(sound);
      }
    });
  }
})();
