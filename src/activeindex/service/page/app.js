// The page of the service: recognise, register, overview. It calls the API with the session.

const csrf = document.querySelector("meta[name=csrf]").content;
const at = (id) => document.getElementById(id);

async function call(path, options = {}) {
  const answer = await fetch(path, {
    ...options,
    headers: { "X-CSRF-Token": csrf, ...options.headers },
  });
  if (answer.status === 401) location.assign("/");
  const body = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw new Error(body.detail || answer.statusText);
  return { status: answer.status, body };
}

function element(name, text, properties = {}) {
  return Object.assign(document.createElement(name), { textContent: text ?? "" }, properties);
}

function form(file, fields = {}) {
  const made = new FormData();
  made.append("file", file, file.name || "pasted.png");
  for (const [name, value] of Object.entries(fields)) made.append(name, value);
  return made;
}

// Sections, one at a time, by the address.
function show() {
  const sections = [...document.querySelectorAll("main > section")];
  const chosen = sections.find((each) => `#${each.id}` === location.hash) || sections[0];
  for (const each of sections) each.hidden = each !== chosen;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `#${chosen.id}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (chosen.id === "overview") overview();
}
addEventListener("hashchange", show);

// Recognise.
const WORDS = {
  match: "A copy",
  review: "Perhaps a copy: have a look",
  none: "No copy is known",
};

function sentence(expected) {
  if (expected === null || expected === undefined) return "";
  if (expected >= 1) return `About ${Math.round(expected)} registered pictures look as near as this by chance.`;
  const once = Math.round(1 / Math.max(expected, 1e-12)).toLocaleString("en");
  return `A picture that is no copy looks as near as this once in ${once} searches.`;
}

async function recognise(file) {
  at("answer").replaceChildren(element("p", "Searching …"));
  at("compared").hidden = true;
  at("others").replaceChildren();
  try {
    const { body } = await call("/v1/search", { method: "POST", body: form(file, { k: 6 }) });
    const [first, ...rest] = body.matches;
    const decided = body.decision === null ? (first ? "The nearest registered picture" : "Nothing is registered yet") : WORDS[body.decision];
    const lines = [element("p", decided, { className: `decision ${body.decision ?? ""}` })];
    if (first) {
      lines.push(element("p", `${first.name}, at a distance of ${first.distance.toFixed(3)}. ${sentence(first.expected_false_matches)}`));
      if (body.decision === null) lines.push(element("p", "This store is not calibrated, so nothing says whether that is near enough.", { className: "quiet" }));
    }
    at("answer").replaceChildren(...lines);
    if (first && body.decision !== "none") compare(file, first);
    at("others").replaceChildren(...(rest.length ? [element("h2", "Others that are near"), cards(rest)] : []));
  } catch (error) {
    at("answer").replaceChildren(element("p", error.message, { className: "error" }));
  }
}

function compare(file, match) {
  const ours = at("ours");
  ours.onload = () => { at("compared").hidden = false; };
  ours.onerror = () => { at("compared").hidden = true; };
  URL.revokeObjectURL(at("theirs").src);
  at("theirs").src = URL.createObjectURL(file);
  ours.src = `/v1/images/${match.id}/original-thumbnail`;
  slide();
}

function slide() {
  at("ours").style.setProperty("clip-path", `inset(0 0 0 ${at("slide").value}%)`);
}
at("slide").addEventListener("input", slide);

function cards(matches) {
  const list = element("ul", "", { className: "cards" });
  for (const match of matches) list.append(card(match, `distance ${match.distance.toFixed(3)}`));
  return list;
}

function card(image, line, ...more) {
  const made = element("li");
  const small = element("img", "", { alt: "", loading: "lazy", src: `/v1/images/${image.id}/original-thumbnail` });
  small.onerror = () => small.remove();
  const text = element("div");
  text.append(element("p", image.name), element("p", line, { className: "quiet" }), ...more);
  made.append(small, text);
  return made;
}

// Register, one picture after the other.
async function register(files) {
  let done = 0;
  for (const file of files) {
    at("registering").textContent = `${done} of ${files.length} registered; ${file.name} is being protected …`;
    try {
      const image = await registered(file);
      const link = element("a", "Download the released file", { href: image.links.released, download: "" });
      const changed = image.activated ? `changed by ${image.psnr.toFixed(1)} dB (PSNR), found more often` : "left as it was";
      at("registered").prepend(card(image, changed, link));
      done += 1;
    } catch (error) {
      at("registered").prepend(Object.assign(element("li", `${file.name}: ${error.message}`), { className: "error" }));
    }
  }
  at("registering").textContent = `${done} of ${files.length} registered.`;
}

async function registered(file) {
  const once = crypto.randomUUID ? crypto.randomUUID() : String(Math.random());
  const headers = { Prefer: "wait=60", "Idempotency-Key": once };
  let { status, body } = await call("/v1/images", { method: "POST", body: form(file), headers });
  while (status === 202 || (body.state && body.status === null)) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    ({ status, body } = await call(`/v1/jobs/${body.id}`));
    if (body.status !== null) {
      if (body.status >= 300) throw new Error(body.answer.detail);
      return body.answer;
    }
  }
  return body;
}

// Overview.
let next = null;
async function overview() {
  const [{ body: ready }, { body: kinds }] = await Promise.all([
    fetch("/readyz").then(async (answer) => ({ body: await answer.json() })),
    call("/v1/generations"),
  ]);
  const images = kinds.reduce((sum, each) => sum + each.images, 0);
  const rows = [
    ["Service", ready.ready ? "ready" : ready.reason],
    ["Images", images.toLocaleString("en")],
    ["Decisions", kinds.every((each) => each.calibrated) ? "calibrated" : "not calibrated: activeindex calibrate"],
  ];
  at("counts").replaceChildren(...rows.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
  at("images").replaceChildren();
  await more(-1);
}

async function more(cursor) {
  const { body } = await call(`/v1/images?limit=24&cursor=${cursor}`);
  for (const image of body.images) {
    const remove = element("button", "Remove", { className: "plain" });
    remove.setAttribute("aria-label", `Remove ${image.name}`);
    const made = card(image, image.activated ? `activated, ${image.psnr.toFixed(1)} dB` : "untouched", remove);
    remove.addEventListener("click", async () => {
      if (!confirm(`Remove ${image.name}? Its copies will not be recognised any more.`)) return;
      try {
        await call(image.links.self, { method: "DELETE" });
        made.remove();
      } catch (error) {
        remove.replaceWith(element("p", error.message, { className: "error" }));
      }
    });
    at("images").append(made);
  }
  next = body.next;
  at("more").hidden = next === null;
}

// Ways to hand in pictures.
const takes = { recognise: (files) => recognise(files[0]), register };
for (const box of document.querySelectorAll("[data-drop]")) {
  const take = takes[box.dataset.drop];
  const input = box.querySelector("input");
  input.addEventListener("change", () => { if (input.files.length) take([...input.files]); });
  box.addEventListener("dragover", (event) => { event.preventDefault(); box.classList.add("over"); });
  box.addEventListener("dragleave", () => box.classList.remove("over"));
  box.addEventListener("drop", (event) => {
    event.preventDefault();
    box.classList.remove("over");
    const files = [...event.dataTransfer.files];
    if (files.length) take(files);
  });
}
addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (!files.length) return;
  (at("register") && !at("register").hidden ? register : takes.recognise)(files);
});
at("more")?.addEventListener("click", () => more(next));
show();
