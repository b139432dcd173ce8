// What pages do beyond being read. Without this they are whole: one loads them again to see what is new.
//
// A page that has something to listen to says so in <body data-stream="/path">. The stream's events:
//   frag   {"id": "…", "html": "…", "began": MILLISECONDS?}: the element of this id is another one now. One that is not on
//          the page is left out; in a list with `data-fresh`, one that began after that time is counted as new.
//   stale  the page is asked for again, and every element with an id and `data-live` that changed is put in its place.
//   resync as stale: the stream had more to say than it could.
// A page without a stream can say <main data-refresh="SECONDS"> to be asked for again in that time.
"use strict";
(() => {
  const STALE_PAUSE_MS = 1000;
  const byId = (id) => document.getElementById(id);
  document.documentElement.classList.remove("no-script");

  // Times, told anew.
  const relative = (at, now) => {
    const s = Math.trunc((now - at) / 1000), abs = Math.abs(s);
    if (abs < 5) return s < 0 ? "in a moment" : "just now";
    const amount = abs < 60 ? `${abs} s` : abs < 3600 ? `${Math.trunc(abs / 60)} min`
      : abs < 172800 ? `${Math.trunc(abs / 3600)} h` : `${Math.trunc(abs / 86400)} days`;
    return s < 0 ? `in ${amount}` : `${amount} ago`;
  };
  const tick = () => {
    const now = Date.now();
    for (const time of document.querySelectorAll("time[data-relative]")) {
      const words = relative(Date.parse(time.dateTime), now);
      if (time.textContent !== words) time.textContent = words;
    }
  };
  setInterval(tick, 5000);

  // A part of the page is replaced; what a person has opened stays open, and what they type in stays.
  const swap = (old, fresh) => {
    if (old.isEqualNode(fresh) || old.contains(document.activeElement?.closest("input, textarea, select"))) return false;
    const open = new Set([...old.querySelectorAll("details[open][id]")].map((it) => it.id));
    const focused = old.contains(document.activeElement) && document.activeElement.id;
    for (const it of fresh.querySelectorAll("details[id]")) if (open.has(it.id)) it.open = true;
    old.replaceWith(fresh);
    if (focused) byId(focused)?.focus();
    return true;
  };
  const parse = (html) => {
    const holder = document.createElement("template");
    holder.innerHTML = html;
    return holder.content.firstElementChild;
  };

  let newRows = new Set();
  const onFrag = ({ id, html, began }) => {
    const old = byId(id);
    const fresh = parse(html);
    if (!fresh) return;
    if (old) {
      if (swap(old, fresh)) fresh.classList.add("fresh");
      return;
    }
    const list = document.querySelector("[data-fresh]");
    const show = byId("fresh");
    if (!list || !show || !(began > Number(list.dataset.fresh))) return;
    newRows.add(id);
    show.hidden = false;
    show.textContent = `${newRows.size} new ${newRows.size === 1 ? "run" : "runs"} · show`;
    byId("said").textContent = show.textContent;
  };

  let asking = false, again = false;
  const refresh = async () => {
    if (asking) { again = true; return; }
    asking = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" }, credentials: "same-origin" });
      if (answer.redirected) { location.reload(); return; }
      if (answer.ok) {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const fresh of page.querySelectorAll("[data-live][id]")) {
          const old = byId(fresh.id);
          if (old) swap(old, document.adoptNode(fresh));
        }
        document.title = page.title;
        tick();
      }
    } catch { /* the stream says when it is back */ }
    setTimeout(() => { asking = false; if (again) { again = false; refresh(); } }, STALE_PAUSE_MS);
  };

  const stream = document.body.dataset.stream;
  if (stream && window.EventSource) {
    const source = new EventSource(stream);
    const link = byId("link");
    let cut = false;
    source.addEventListener("open", () => { link.hidden = true; if (cut) refresh(); cut = false; });
    source.addEventListener("error", () => { cut = true; link.hidden = false; });
    source.addEventListener("frag", (event) => onFrag(JSON.parse(event.data)));
    source.addEventListener("stale", refresh);
    source.addEventListener("resync", refresh);
    source.addEventListener("end", () => { refresh(); source.close(); });
    addEventListener("pagehide", () => source.close());
  }
  const every = Number(document.querySelector("main [data-refresh]")?.dataset.refresh);
  if (every > 0) setInterval(() => { if (!document.hidden) refresh(); }, every * 1000);

  document.addEventListener("click", async (event) => {
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      const text = copy.dataset.copy || byId(copy.dataset.copyFrom)?.textContent || "";
      try { await navigator.clipboard.writeText(text); copy.textContent = "copied"; } catch { copy.textContent = "not copied"; }
      byId("said").textContent = copy.textContent;
      setTimeout(() => { copy.textContent = "copy"; }, 1500);
    }
    if (event.target.closest("#fresh")) location.reload();
  });
  document.addEventListener("submit", (event) => {
    const asks = event.submitter?.dataset.confirm || event.target.dataset.confirm;
    if (asks && !confirm(asks)) { event.preventDefault(); return; }
    // What is empty is not asked for.
    if (event.target.method === "get") for (const it of event.target.elements) if (it.name && !it.value) it.disabled = true;
    // A second click does nothing twice.
    if (event.target.method === "post") setTimeout(() => { for (const b of event.target.querySelectorAll("button")) b.disabled = true; });
  });
  document.addEventListener("change", (event) => { if (event.target.closest("[data-auto]")) event.target.form.requestSubmit(); });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select, [contenteditable]")) return;
    event.preventDefault();
    byId("find")?.focus();
  });
})();
