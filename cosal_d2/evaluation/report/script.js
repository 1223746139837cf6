"use strict";
const page = JSON.parse(document.getElementById("data").textContent);
const PAGE_SIZE = 48;
const $ = (id) => document.getElementById(id);
const controls = ["search", "order", "measure", "method", "class", "instances", "failure"];
const lower = new Set(page.lower);
let shown = PAGE_SIZE;
let current = [];

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function number(value) {
  if (value === undefined || value === null) return "-";
  return Number.isInteger(value) && Math.abs(value) > 1 ? String(value) : value.toFixed(3);
}

function fill(id, entries) {
  for (const [value, label] of entries) $(id).append(make("option", { value, textContent: label }));
}

function scoresOf(image, measure) {
  return page.methods
    .map((method) => image.scores[method]?.[measure])
    .filter((value) => value !== undefined && value !== null);
}

function badness(image, measure, method) {
  const sign = lower.has(measure) ? 1 : -1;
  if (method) {
    const value = image.scores[method]?.[measure];
    return value === undefined || value === null ? null : sign * value;
  }
  const values = scoresOf(image, measure);
  if (!values.length) return null;
  return (sign * values.reduce((a, b) => a + b, 0)) / values.length;
}

function disagreement(image, measure) {
  const values = scoresOf(image, measure);
  return values.length < 2 ? null : Math.max(...values) - Math.min(...values);
}

function failures(image, method) {
  if (method) return image.failures[method] ?? [];
  return [...new Set(Object.values(image.failures).flat())];
}

const keys = {
  dataset: () => null,
  name: () => null,
  worst: (image, s) => badness(image, s.measure, s.method),
  best: (image, s) => {
    const bad = badness(image, s.measure, s.method);
    return bad === null ? null : -bad;
  },
  disagreement: (image, s) => disagreement(image, s.measure),
  instances: (image) => image.objects,
};

function matches(image, s) {
  if (s.search && !image.name.toLowerCase().includes(s.search.toLowerCase())) return false;
  if (s.class && !image.classes.includes(s.class)) return false;
  if (s.instances && String(image.objects) !== s.instances) return false;
  if (!s.failure) return true;
  if (s.failure === "everybody") {
    return page.methods.every((method) => (image.failures[method] ?? []).includes("weak"));
  }
  return failures(image, s.method).includes(s.failure);
}

function ordered(images, s) {
  if (s.order === "name") return images.sort((a, b) => a.name.localeCompare(b.name));
  const key = keys[s.order];
  return images
    .map((image, place) => [key(image, s), place, image])
    .sort(([a, i], [b, j]) => {
      if (a === null || b === null) return (a === null) - (b === null) || i - j;
      return b - a || i - j;
    })
    .map(([, , image]) => image);
}

function figureOf(image, panel, caption, place) {
  const source = image.pictures[panel];
  const button = make("button", { type: "button" });
  if (source) {
    const [width, height] = image.size;
    const alt = `${image.name}: ${panel}`;
    button.append(make("img", { width, height, alt, loading: "lazy", src: source }));
  } else {
    button.append(make("span", { className: "note", textContent: "no picture" }));
    button.disabled = true;
  }
  button.addEventListener("click", () => open(place, panel));
  return make("figure", {}, button, make("figcaption", { textContent: caption }));
}

function card(image, place, s) {
  const about = [`${image.objects === null ? "?" : image.objects} objects`, ...image.classes];
  if (image.distractors) about.push(`${image.distractors} distractors`);
  const spread = disagreement(image, s.measure);
  if (spread !== null) about.push(`disagreement ${number(spread)}`);
  const strip = make("div", { className: "strip" });
  strip.append(figureOf(image, "image", "image", place), figureOf(image, "truth", "truth", place));
  for (const method of page.methods) {
    const score = image.scores[method]?.[s.measure];
    strip.append(figureOf(image, `map ${method}`, `${method}: ${number(score)}`, place));
  }
  const tags = make("div", { className: "tags" });
  for (const name of failures(image, s.method)) {
    tags.append(make("span", { textContent: page.failures[name] }));
  }
  const node = make("li", { className: "card" });
  node.dataset.name = image.name;
  node.append(
    make("h3", { textContent: image.name }),
    make("p", { className: "note", textContent: about.join(", ") }),
    strip,
    tags,
  );
  return node;
}

function settings() {
  return Object.fromEntries(controls.map((id) => [id, $(id).value]));
}

function draw() {
  const s = settings();
  current = ordered(page.images.filter((image) => matches(image, s)), s);
  $("gallery").replaceChildren(...current.slice(0, shown).map((image, i) => card(image, i, s)));
  $("shown").textContent = `${current.length} of ${page.images.length} images`;
  $("more").hidden = current.length <= shown;
}

let opened = { place: 0, panel: "image" };

function open(place, panel) {
  const image = current[place];
  const panels = Object.keys(image.pictures).filter((name) => image.pictures[name]);
  const name = panels.includes(panel) ? panel : panels[0];
  opened = { place, panel: name, panels };
  $("large").src = image.pictures[name];
  $("large").alt = `${image.name}: ${name}`;
  const row = image.scores[name.replace(/^map /, "")] ?? {};
  const scores = page.measures.filter((m) => m in row).map((m) => `${m} ${number(row[m])}`);
  $("caption").textContent = [`${image.name}: ${name}`, ...scores].join(" | ");
  if (!$("viewer").open) $("viewer").showModal();
}

function step(images, panels) {
  if (!opened.panels) return;
  const n = opened.panels.length;
  const panel = opened.panels[(opened.panels.indexOf(opened.panel) + panels + n) % n];
  open(Math.min(Math.max(opened.place + images, 0), current.length - 1), panel);
}

function openPlain(source, caption) {
  opened = {};
  $("large").src = source;
  $("large").alt = caption;
  $("caption").textContent = caption;
  $("viewer").showModal();
}

function sortTable(table, column, button) {
  const header = button.closest("th");
  const down = header.getAttribute("aria-sort") === "descending";
  for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", down ? "ascending" : "descending");
  const sign = down ? 1 : -1;
  const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const rows = [...table.tBodies[0].rows].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === "" || y === "") return (x === "") - (y === "");
    const [p, q] = [Number(x), Number(y)];
    return sign * (Number.isNaN(p) || Number.isNaN(q) ? x.localeCompare(y) : p - q);
  });
  table.tBodies[0].append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("th").forEach((header, column) => {
    const button = make("button", { type: "button", textContent: header.textContent });
    header.replaceChildren(button);
    button.addEventListener("click", () => sortTable(table, column, button));
  });
}
fill("measure", page.measures.map((name) => [name, name]));
fill("method", [["", "all methods"], ...page.methods.map((name) => [name, name])]);
fill("class", [["", "all"], ...page.classes.map((name) => [name, name])]);
fill("instances", [["", "any"], ...page.counts.map((count) => [String(count), String(count)])]);
fill("failure", [["", "all images"], ...Object.entries(page.failures)]);
if (page.methods.length > 1) fill("failure", [["everybody", "F below 0.5 for every method"]]);
for (const id of controls) {
  $(id).addEventListener("input", () => {
    shown = PAGE_SIZE;
    draw();
  });
}
$("reset").addEventListener("click", () => {
  for (const id of controls) $(id).value = id === "search" ? "" : $(id).options[0].value;
  draw();
});
for (const button of document.querySelectorAll("button.count")) {
  button.addEventListener("click", () => {
    $("method").value = button.dataset.method;
    $("failure").value = button.dataset.failure;
    shown = PAGE_SIZE;
    draw();
    $("controls").scrollIntoView();
  });
}
$("more").addEventListener("click", () => {
  shown += PAGE_SIZE;
  draw();
});
$("close").addEventListener("click", () => $("viewer").close());
$("previous").addEventListener("click", () => step(0, -1));
$("next").addEventListener("click", () => step(0, 1));
$("viewer").addEventListener("click", (event) => {
  if (event.target === $("viewer")) $("viewer").close();
});
document.addEventListener("keydown", (event) => {
  if (!$("viewer").open) return;
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  if (event.key in steps) {
    event.preventDefault();
    step(...steps[event.key]);
  }
});
const curves = document.querySelector("img.curves");
curves?.addEventListener("click", () => openPlain(curves.src, curves.alt));
draw();
