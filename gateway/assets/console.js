// What pages do beyond being read. Without this they are whole: one loads them again to see what is new.
//
// A page that has something to listen to says so in <body data-stream="/path">. The stream's events:
//   frag   {"id": "…", "html": "…", "began": MILLISECONDS?}: the element of this id is another one now. One that is not on
//          the page is left out; in a list with `data-fresh`, one that began after that time is counted as new.
//   stale  the page is asked for again, and every element with an id and `data-live` that changed is put in its place.
//   resync as stale: the stream had more to say than it could.
// What changes with the time can say data-refresh="SECONDS" within <main>, for as long as the page is to be asked for again in that time.
"use strict";
(() => {
  const STALE_PAUSE_MS = 1000;
  // A gateway that does not answer in this time is as good as none.
  const ANSWER_LIMIT_MS = 20000;
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

  // Whether a person has made something else of a field than the page did. A list that the page chose nothing of begins at its first.
  const isChanged = (field) => {
    if (field.matches("textarea")) return field.value !== field.defaultValue.replace(/\r\n?/g, "\n");
    if (field.matches("[type=checkbox], [type=radio]")) return field.checked !== field.defaultChecked;
    if (!field.matches("select")) return field.value !== field.defaultValue;
    const options = [...field.options];
    const isChosen = options.some((it) => it.defaultSelected);
    if (field.multiple || isChosen) return options.some((it) => it.selected !== it.defaultSelected);
    return field.selectedIndex > options.findIndex((it) => !it.disabled);
  };
  // What a person is at stays as it is: they are in a field of it, have changed one, or have marked some of its text.
  const isInUse = (part) => {
    const marked = getSelection();
    return part.contains(document.activeElement?.closest("input, textarea, select"))
      || (marked && !marked.isCollapsed && part.contains(marked.anchorNode))
      || [...part.querySelectorAll("input, textarea, select")].some(isChanged);
  };
  // A part of the page is replaced; what a person has opened stays open.
  const swap = (old, fresh) => {
    if (old.isEqualNode(fresh) || isInUse(old)) return false;
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

  // Whether the stream is cut, and whether the page was asked for in vain. Where that is said is replaced with the rest of the page.
  let source = null, cut = false, failed = false;
  const tellLink = () => {
    const link = byId("link");
    if (link) link.hidden = !cut && !failed;
  };

  let asking = false, again = false;
  const refresh = async () => {
    if (asking) { again = true; return; }
    asking = true;
    try {
      const signal = AbortSignal.timeout(ANSWER_LIMIT_MS);
      const answer = await fetch(location.href, { headers: { accept: "text/html" }, credentials: "same-origin", signal });
      if (answer.redirected) { location.reload(); return; }
      failed = !answer.ok;
      if (answer.ok) {
        // A stream that was given up does not come back: what keeps such a page live is that it is asked for.
        if (source?.readyState === EventSource.CLOSED) cut = false;
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const fresh of page.querySelectorAll("[data-live][id]")) {
          const old = byId(fresh.id);
          if (old) swap(old, document.adoptNode(fresh));
        }
        document.title = page.title;
        tick();
      }
    } catch { failed = true; }
    tellLink();
    setTimeout(() => { asking = false; if (again) { again = false; refresh(); } }, STALE_PAUSE_MS);
  };

  const stream = document.body.dataset.stream;
  if (stream && window.EventSource) {
    source = new EventSource(stream);
    source.addEventListener("open", () => { if (cut) refresh(); cut = false; tellLink(); });
    source.addEventListener("error", () => { cut = true; tellLink(); });
    source.addEventListener("frag", (event) => onFrag(JSON.parse(event.data)));
    source.addEventListener("stale", refresh);
    source.addEventListener("resync", refresh);
    source.addEventListener("end", () => { refresh(); source.close(); });
    addEventListener("pagehide", () => source.close());
  }
  const lookAgain = () => {
    const every = Number(document.querySelector("main [data-refresh]")?.dataset.refresh);
    if (every > 0) setTimeout(() => { if (!document.hidden) refresh(); lookAgain(); }, every * 1000);
  };
  lookAgain();

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
