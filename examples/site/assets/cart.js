// Every press of "Add" is a request of its own: many run at the same time, and none waits for
// another. When the last one has been answered, the cart is shown as the server has it.
// Without JavaScript the same forms are sent as forms.
const lines = document.getElementById("cart-lines");
let running = 0;

async function send(form) {
  running += 1;
  document.body.dataset.busy = "";
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      body: new URLSearchParams(new FormData(form)),
      headers: { Accept: "application/json" },
    });
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  } finally {
    running -= 1;
    if (running === 0) await show();
  }
}

async function show() {
  const page = await fetch("/cart/lines");
  if (page.ok && running === 0) {
    lines.innerHTML = await page.text();
    delete document.body.dataset.busy;
  }
}

for (const form of document.querySelectorAll("form[data-add]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    // A request that failed is sent again in the plain way, which shows what is wrong.
    send(form).catch(() => form.submit());
  });
}
