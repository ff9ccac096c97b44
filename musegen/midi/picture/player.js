// Plays the scores of a notebook: every fragment that has no player yet gets one. No network, nothing global but one
// AudioContext. Notes are whole numbers, five each: milliseconds since the note before, duration in milliseconds,
// pitch, velocity, timbre.
(() => {
  "use strict";

  // Strength of the overtones; then attack, decay (0: as long as it is held), release in seconds, and loudness.
  const TIMBRES = [
    { name: "keys", overtones: [1, 0.45, 0.22, 0.12, 0.06, 0.03], attack: 0.004, decay: 1.1, release: 0.12, gain: 1 },
    { name: "plucked", overtones: [1, 0.7, 0.45, 0.3, 0.2, 0.1], attack: 0.003, decay: 0.5, release: 0.08, gain: 0.9 },
    { name: "strings", overtones: [1, 0.6, 0.4, 0.28, 0.2, 0.14, 0.1], attack: 0.06, decay: 0, release: 0.16, gain: 0.55 },
    { name: "brass", overtones: [1, 0.9, 0.7, 0.5, 0.35, 0.2], attack: 0.03, decay: 0, release: 0.09, gain: 0.45 },
    { name: "flute", overtones: [1, 0.18, 0.08], attack: 0.045, decay: 0, release: 0.1, gain: 0.8 },
    { name: "reed", overtones: [1, 0.1, 0.6, 0.08, 0.35, 0.05, 0.2], attack: 0.03, decay: 0, release: 0.08, gain: 0.55 },
    { name: "organ", overtones: [1, 0.7, 0.2, 0.5, 0, 0.15, 0, 0.25], attack: 0.01, decay: 0, release: 0.06, gain: 0.5 },
  ];
  const DRUMS = TIMBRES.length;
  const AHEAD_SECONDS = 1.5;

  function makeSynth(context) {
    const waves = TIMBRES.map((timbre) => {
      const overtones = Float32Array.from([0, ...timbre.overtones]);
      return context.createPeriodicWave(new Float32Array(overtones.length), overtones);
    });
    const noise = context.createBuffer(1, context.sampleRate, context.sampleRate);
    const samples = noise.getChannelData(0);
    for (let i = 0, seed = 1; i < samples.length; i++) {
      seed = (seed * 16807) % 2147483647;
      samples[i] = seed / 1073741823.5 - 1;
    }

    function drum(out, pitch, loudness, when) {
      const isKick = pitch === 35 || pitch === 36;
      const isTom = [41, 43, 45, 47, 48, 50].includes(pitch);
      const isHat = [22, 26, 42, 44].includes(pitch);
      const isCymbal = [46, 49, 51, 52, 53, 55, 57, 59].includes(pitch);
      const seconds = isKick ? 0.25 : isTom ? 0.3 : isHat ? 0.06 : isCymbal ? 0.7 : 0.16;
      const envelope = context.createGain();
      envelope.gain.setValueAtTime(loudness * (isKick ? 1.3 : isHat || isCymbal ? 0.5 : 2), when);
      envelope.gain.exponentialRampToValueAtTime(0.0005, when + seconds);
      envelope.connect(out);
      let source;
      if (isKick || isTom) {
        source = context.createOscillator();
        const top = isKick ? 140 : 90 + (pitch - 41) * 14;
        source.frequency.setValueAtTime(top, when);
        source.frequency.exponentialRampToValueAtTime(isKick ? 45 : top * 0.6, when + seconds * 0.6);
        source.connect(envelope);
      } else {
        source = context.createBufferSource();
        source.buffer = noise;
        source.loop = true;
        const filter = context.createBiquadFilter();
        filter.type = isHat || isCymbal ? "highpass" : "bandpass";
        filter.frequency.value = isHat || isCymbal ? 7000 : 1800;
        source.connect(filter).connect(envelope);
      }
      source.start(when);
      source.stop(when + seconds);
    }

    // Schedules a note; `when` and `seconds` are in the context's time.
    return function sound(out, pitch, velocity, timbreIndex, when, seconds) {
      const loudness = 0.22 * Math.pow(velocity / 127, 1.5);
      if (timbreIndex === DRUMS) return drum(out, pitch, loudness * 1.6, when);
      const timbre = TIMBRES[timbreIndex];
      const oscillator = context.createOscillator();
      oscillator.setPeriodicWave(waves[timbreIndex]);
      oscillator.frequency.value = 440 * Math.pow(2, (pitch - 69) / 12);
      const envelope = context.createGain();
      const level = loudness * timbre.gain;
      const held = Math.max(seconds, timbre.attack + 0.03);
      envelope.gain.setValueAtTime(0, when);
      envelope.gain.linearRampToValueAtTime(level, when + timbre.attack);
      if (timbre.decay) {
        // Low strings ring longer than high ones.
        envelope.gain.setTargetAtTime(0, when + timbre.attack, timbre.decay * Math.pow(2, (60 - pitch) / 24));
      }
      envelope.gain.setTargetAtTime(0, when + held, timbre.release / 3);
      oscillator.connect(envelope).connect(out);
      oscillator.start(when);
      oscillator.stop(when + held + timbre.release * 2);
    };
  }

  function readNotes(numbers) {
    const notes = [];
    for (let i = 0, start = 0; i < numbers.length; i += 5) {
      start += numbers[i];
      notes.push([start / 1000, numbers[i + 1] / 1000, numbers[i + 2], numbers[i + 3], numbers[i + 4]]);
    }
    return notes;
  }

  function clock(seconds) {
    const whole = Math.max(0, Math.floor(seconds));
    return Math.floor(whole / 60) + ":" + String(whole % 60).padStart(2, "0");
  }

  // Where a second lies: {row, x in percent}; rows are [left, right, top, bottom in percent, milliseconds...], the
  // milliseconds at even distances from left to right.
  function place(rows, seconds) {
    for (let index = 0; index < rows.length; index++) {
      const [left, right, , , ...times] = rows[index];
      if (seconds * 1000 >= times[times.length - 1]) continue;
      let step = 1;
      while (step < times.length - 1 && times[step] <= seconds * 1000) step++;
      const share = (seconds * 1000 - times[step - 1]) / Math.max(times[step] - times[step - 1], 1);
      const x = (step - 1 + Math.min(Math.max(share, 0), 1)) / (times.length - 1);
      return { row: index, x: left + x * (right - left) };
    }
    return null;
  }

  function secondsAt(rows, x, y) {
    const row = rows.find(([, , , bottom]) => y <= bottom) || rows[rows.length - 1];
    const [left, right, , , ...times] = row;
    const at = Math.min(Math.max((x - left) / (right - left), 0), 1) * (times.length - 1);
    const before = Math.min(Math.floor(at), times.length - 2);
    return (times[before] + (at - before) * (times[before + 1] - times[before])) / 1000;
  }

  function setUp(root) {
    const { notes: numbers, rows, seconds: total } = JSON.parse(root.dataset.score);
    const notes = readNotes(numbers);
    const roll = root.querySelector(".musegen-roll");
    let session = null;
    let position = 0;

    const bar = document.createElement("div");
    bar.style.cssText = "margin:4px 0;display:flex;align-items:center;gap:8px";
    const button = document.createElement("button");
    button.type = "button";
    button.style.cssText = "min-width:6em;padding:3px 10px;cursor:pointer";
    const label = document.createElement("span");
    label.style.cssText = "font-variant-numeric:tabular-nums;opacity:.75";
    bar.append(button, label);
    roll.before(bar);
    const head = document.createElement("div");
    head.style.cssText = "position:absolute;width:2px;margin-left:-1px;background:#d02020;pointer-events:none;display:none";
    roll.append(head);
    roll.style.cursor = "pointer";

    function show() {
      button.textContent = session ? "❚❚ Pause" : "▶ Play";
      button.setAttribute("aria-label", session ? "Pause" : "Play");
      label.textContent = clock(position) + " / " + clock(total);
      const at = place(rows, position);
      head.style.display = at && (session || position > 0) ? "block" : "none";
      if (at) {
        head.style.left = at.x + "%";
        head.style.top = rows[at.row][2] + "%";
        head.style.height = rows[at.row][3] - rows[at.row][2] + "%";
      }
    }

    function stop() {
      if (!session) return;
      clearInterval(session.timer);
      const { out, context } = session;
      out.gain.setTargetAtTime(0, context.currentTime, 0.015);
      setTimeout(() => out.disconnect(), 150);
      session = null;
      show();
    }

    function start() {
      stop();
      document.dispatchEvent(new CustomEvent("musegen-play", { detail: root }));
      const context = (window.musegenAudio = window.musegenAudio || new AudioContext());
      context.resume();
      root.musegenSynth = root.musegenSynth || makeSynth(context);
      const out = context.createGain();
      out.gain.value = 2;
      const limiter = context.createDynamicsCompressor();
      out.connect(limiter).connect(context.destination);
      if (position >= total) position = 0;
      const begun = context.currentTime + 0.08 - position;
      let next = notes.findIndex((note) => note[0] >= position - 0.001);
      if (next < 0) next = notes.length;

      function tick() {
        if (!root.isConnected) return stop();
        position = Math.max(context.currentTime - begun, 0);
        while (next < notes.length && notes[next][0] < position + AHEAD_SECONDS) {
          const [at, seconds, pitch, velocity, timbre] = notes[next++];
          const when = Math.max(begun + at, context.currentTime);
          root.musegenSynth(out, pitch, velocity, timbre, when, seconds);
        }
        if (position > total + 0.3) {
          position = 0;
          return stop();
        }
        show();
      }
      session = { out, context, timer: setInterval(tick, 40) };
      tick();
    }

    button.addEventListener("click", () => (session ? stop() : start()));
    roll.addEventListener("click", (event) => {
      const box = roll.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * 100;
      const y = ((event.clientY - box.top) / box.height) * 100;
      position = Math.min(secondsAt(rows, x, y), total);
      if (session) start();
      show();
    });
    document.addEventListener("musegen-play", (event) => event.detail !== root && stop());
    show();
  }

  for (const root of document.querySelectorAll(".musegen-score[data-score]:not([data-ready])")) {
    root.dataset.ready = "1";
    if (window.AudioContext) setUp(root);
  }
})();
