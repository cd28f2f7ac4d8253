// The footer of every page, and the two streams of the live page. Without it every page still reads.
"use strict";

const rendered = document.getElementById("rendered");
const ago = document.getElementById("ago");

function age() {
  const seconds = Math.max(0, Math.round((Date.now() - Date.parse(rendered.dateTime)) / 1000));
  ago.textContent = seconds < 120 ? `(${seconds} s ago)` : `(${Math.round(seconds / 60)} min ago)`;
}
age();
setInterval(age, 1000);

// what the edge says of this page now: the fields it adds to an answer
const ask = document.getElementById("ask");
const answer = document.getElementById("answer");
const FIELDS = ["Cache-Status", "Age", "Edge-Block", "Proxy-Status", "Repr-Digest", "Via", "ETag"];
ask.hidden = false;
ask.addEventListener("click", async () => {
  const rows = [];
  try {
    const response = await fetch(location.href, { method: "HEAD" });
    rows.push(["Status", String(response.status)]);
    for (const name of FIELDS) if (response.headers.has(name)) rows.push([name, response.headers.get(name)]);
    if (!response.headers.has("Cache-Status")) rows.push(["Cache-Status", "none: this answer came straight from the origin"]);
  } catch {
    rows.push(["Status", "no answer"]);
  }
  answer.replaceChildren(...rows.flatMap(([name, value]) => {
    const term = document.createElement("dt"), text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    return [term, text];
  }));
  answer.hidden = false;
});

function line(box, label, text) {
  const stamp = document.createElement("b");
  stamp.textContent = `${label} `;
  box.append(stamp, `${text}\n`);
  while (box.childNodes.length > 200) box.firstChild.remove();
  box.scrollTop = box.scrollHeight;
}

function state(id, on, text) {
  const mark = document.getElementById(id);
  mark.classList.toggle("on", on);
  mark.textContent = text;
}

const events = document.getElementById("events");
if (events) {
  const source = new EventSource("/events");
  source.onopen = () => state("events-state", true, "connected");
  source.onerror = () => state("events-state", false, "lost, trying again");
  source.addEventListener("beam", (event) => line(events, event.lastEventId, event.data));
}

const echo = document.getElementById("echo");
if (echo) {
  let socket;
  const connect = () => {
    socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
    socket.onopen = () => state("echo-state", true, "connected");
    socket.onmessage = (event) => line(echo, "←", event.data);
    socket.onclose = () => { state("echo-state", false, "lost, trying again"); setTimeout(connect, 2000); };
  };
  connect();
  document.getElementById("say").addEventListener("submit", (event) => {
    event.preventDefault();
    const field = event.target.elements.text;
    if (socket.readyState !== WebSocket.OPEN || !field.value) return;
    line(echo, "→", field.value);
    socket.send(field.value);
    field.value = "";
  });
}

const api = document.getElementById("api");
if (api) {
  document.getElementById("load").addEventListener("click", async () => {
    for (const path of ["/api/time", "/api/quotes"]) {
      try {
        const response = await fetch(path);
        line(api, `${path} Age ${response.headers.get("Age") ?? "none"}`, JSON.stringify(await response.json()));
      } catch {
        line(api, path, "no answer");
      }
    }
  });
}
