// Stop goes its own way, one request, whatever becomes of the rest of the page.
const told = document.getElementById("stopped");
const button = document.getElementById("stop");
const AT_REST = told.textContent;
const UNHEARD = "NOT STOPPED: the panel does not answer. Use the user stop!";
let quiet;

async function stopArm() {
  clearTimeout(quiet);
  button.className = "sent";
  told.textContent = "stop sent …";
  try {
    const answer = await fetch("/stop", { method: "POST", keepalive: true });
    const text = (await answer.text()).trim();
    button.className = answer.ok ? "done" : "failed";
    told.textContent = answer.ok ? text : `NOT STOPPED: ${text}. Use the user stop!`;
  } catch {
    button.className = "failed";
    told.textContent = UNHEARD;
  }
  if (button.className === "done")
    quiet = setTimeout(() => {
      button.className = "";
      told.textContent = AT_REST;
    }, 4000);
}

button.addEventListener("pointerdown", (event) => event.isPrimary && stopArm());
button.addEventListener("click", (event) => event.detail === 0 && stopArm()); // by the keyboard
document.addEventListener("keydown", (event) => event.key === "Escape" && !event.repeat && stopArm(), true);

// Images are asked for one by one, so that a slow network gets fewer, not later ones.
async function show(image) {
  const { camera, period } = image.dataset;
  const caption = image.nextElementSibling.querySelector("i");
  while (image.isConnected) {
    const began = performance.now();
    if (!document.hidden) await showOne(image, caption, camera);
    await new Promise((wake) => setTimeout(wake, Math.max(20, period - (performance.now() - began))));
  }
}

async function showOne(image, caption, camera) {
  try {
    const answer = await fetch(`/view/${camera}`, { cache: "no-store" });
    if (answer.status === 403) return location.reload(); // which says why
    image.classList.toggle("old", !answer.ok);
    if (!answer.ok) return void (caption.textContent = "no image");
    const old = image.src;
    image.src = URL.createObjectURL(await answer.blob());
    if (old) URL.revokeObjectURL(old);
    const age = Number(answer.headers.get("X-Age"));
    caption.textContent = `${Math.round(1000 * age)} ms old, ${Number(answer.headers.get("X-Rate")).toFixed(1)} Hz`;
    image.classList.toggle("old", age > 1);
  } catch {
    image.classList.add("old");
    caption.textContent = "the panel does not answer";
  }
}

new MutationObserver(() => {
  for (const image of document.querySelectorAll("img[data-camera]:not([data-shown])")) {
    image.dataset.shown = "";
    show(image);
  }
}).observe(document.body, { childList: true, subtree: true });
