// Every click on "Add" sends its own request, and many run at the same time. After the last response,
// the cart is loaded from the server. Without JavaScript, the browser submits the same forms.
const lines = document.getElementById("cart-lines");
let running = 0;

async function send(form) {
  running += 1;
  document.body.dataset.busy = "";
  try {
    const response = await fetch(form.action, {
      method: "POST",
      body: new URLSearchParams(new FormData(form)),
      headers: { Accept: "application/json" },
    });
    if (!response.ok) throw new Error(`status ${response.status}`);
  } finally {
    running -= 1;
    if (running === 0) await reloadCart();
  }
}

async function reloadCart() {
  const page = await fetch("/cart/lines");
  if (page.ok && running === 0) {
    lines.innerHTML = await page.text();
    delete document.body.dataset.busy;
  }
}

for (const form of document.querySelectorAll("form[data-add]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    // If the request fails, submit the form without JavaScript, so that the browser shows the error.
    send(form).catch(() => form.submit());
  });
}
