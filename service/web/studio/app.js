// The frame around the views: which one is shown, the colours, the key, and the state of the connection.

import { house } from "./api.js";
import { announce, fill, h } from "./dom.js";
import { jobView } from "./job-view.js";
import { jobsView } from "./jobs-view.js";
import { askForKey } from "./key-dialog.js";
import { newView } from "./new-view.js";

const main = document.getElementById("main");
const banner = document.getElementById("banner");
let view = null;

function route() {
  view?.close();
  const [path, query = ""] = location.hash.slice(1).split("?");
  const [, place = "", id] = path.split("/");
  if (place === "jobs" && /^[0-9a-z]{36}$/.test(id ?? "")) view = jobView(main, id);
  else if (place === "jobs" && !id) view = jobsView(main, new URLSearchParams(query));
  else if (place === "") view = newView(main);
  else view = nothingHere();
  document.title = `${view.title} – HighSync`;
  for (const link of document.querySelectorAll("[data-page]")) {
    if (link.dataset.page === (place === "jobs" ? "jobs" : "new")) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function nothingHere() {
  fill(main, h("div", { class: "empty" }, h("h1", { tabindex: -1 }, "Nothing here"), h("p", {}, "This address leads to no job and no page."), h("a", { class: "button", href: "#/jobs" }, "All jobs")));
  return { title: "Nothing here", close() {} };
}

function chooseColours() {
  const select = document.getElementById("theme");
  select.value = localStorage.getItem("highsync-theme") ?? "";
  select.addEventListener("change", () => {
    document.documentElement.dataset.theme = select.value;
    localStorage.setItem("highsync-theme", select.value);
  });
}

house.addEventListener("lost", () => {
  fill(banner, h("p", { class: "lost" }, h("span", { class: "spinner", "aria-hidden": "true" }), h("strong", {}, "No connection to the service."), " It is looked for again and again; what was accepted goes on without this page."));
});
house.addEventListener("back", () => {
  fill(banner);
  announce("The service answers again.");
  view?.refresh?.();
});
const withAnotherKey = () => view.refresh?.();
house.addEventListener("key", (event) => askForKey(event.detail, withAnotherKey));
document.getElementById("key-button").addEventListener("click", () => askForKey(null, withAnotherKey));
for (const type of ["dragover", "drop"]) window.addEventListener(type, (event) => event.preventDefault()); // no file in place of the page
window.addEventListener("hashchange", () => {
  route();
  main.querySelector("h1")?.focus();
  window.scrollTo(0, 0);
});
chooseColours();
route();
document.documentElement.dataset.ready = "";
performance.mark("highsync-interactive");
