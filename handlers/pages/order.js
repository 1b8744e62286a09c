// The page works without any of this. With it, Get PIN does not leave the page,
// what becomes of the text is told as it happens, and a reply to the text takes
// the customer to the end by itself.

const form = document.getElementById("order-form");
const $ = (id) => document.getElementById(id);

if (form) {
  const pin = $("pin");
  const getPIN = $("get-pin");
  let waiting; // the timer of the countdown
  let renumbered = false; // the number was changed since a PIN was asked for
  let live; // the EventSource

  getPIN?.addEventListener("click", (event) => {
    event.preventDefault();
    askForPIN();
  });

  // Another number may be asked for at once.
  if (form.contains($("mobile_number"))) {
    $("mobile_number").addEventListener("input", () => {
      renumbered = true;
      countDown(0);
    });
  }

  document.querySelector("#problems:not([hidden])")?.focus();
  countDown(Number(getPIN?.dataset.resendAfter ?? 0));
  if ($("order").value) follow($("order").value);
  offerPIN();

  async function askForPIN() {
    const posted = new URLSearchParams(new FormData(form));
    posted.delete("pin");
    renumbered = false;
    getPIN.setAttribute("aria-busy", "true");
    getPIN.disabled = true;
    clearProblems();
    say("");
    let answer, told;
    try {
      answer = await fetch("/pin", {
        method: "POST",
        headers: { Accept: "application/json" },
        body: posted,
      });
      told = await answer.json();
    } catch {
      say("We could not be reached. Check your connection, and try again.");
      return;
    } finally {
      getPIN.removeAttribute("aria-busy");
      getPIN.disabled = false;
    }
    if (told.order) {
      $("order").value = told.order;
      follow(told.order);
    }
    if (!answer.ok) {
      const wait = Number(answer.headers.get("Retry-After") ?? 0);
      showProblems(told.errors ?? [{ field: "", message: told.detail }]);
      countDown(wait);
      return;
    }
    say("The text with your PIN is on its way.");
    getPIN.textContent = "Get PIN again";
    countDown(told.resend_after);
    pin?.focus();
  }

  // follow tells what happens to the order. The server ends the stream when
  // nothing more will.
  function follow(order) {
    if (live?.url.includes(order) && live.readyState !== EventSource.CLOSED) return;
    live?.close();
    live = new EventSource(`/orders/${order}/live`);
    live.addEventListener("message", (event) => {
      const now = JSON.parse(event.data);
      if (now.state === "confirmed") {
        live.close();
        location.assign(`/orders/${order}/complete`);
        return;
      }
      if (now.state === "declined" || now.state === "lapsed") {
        live.close();
        location.assign(`/orders/${order}`);
        return;
      }
      say(now.note);
      if (!renumbered) countDown(now.resend_after);
      if (now.proved) {
        // By a reply: there is no PIN to get, or to give, any more.
        getPIN?.remove();
        pin?.parentElement.remove();
      }
      if (getPIN) getPIN.textContent = now.live && now.state !== "locked" ? "Get PIN again" : "Get a new PIN";
    });
    live.addEventListener("error", () => {
      // The browser comes back by itself, unless it was turned away.
      if (live.readyState === EventSource.CLOSED) setTimeout(() => follow(order), 10_000);
    });
  }

  // countDown keeps the button back for as long as the server would. It counts
  // where no screen reader listens, and says once when it is over.
  function countDown(seconds) {
    if (!getPIN) return;
    clearInterval(waiting);
    const until = Date.now() + seconds * 1000;
    const tick = () => {
      const left = Math.ceil((until - Date.now()) / 1000);
      getPIN.disabled = left > 0;
      $("wait").textContent = left > 0 ? `You can get it again in ${left} s.` : "";
      if (left <= 0) clearInterval(waiting);
    };
    tick();
    if (seconds > 0) waiting = setInterval(tick, 1000);
  }

  // say speaks by the page's live region. The same words again are no news.
  function say(text) {
    if ($("status").textContent !== text) $("status").textContent = text;
  }

  // showProblems does what the server's page of errors does: order.html.
  function showProblems(problems) {
    const list = $("problems").querySelector("ul");
    for (const { field, message } of problems) {
      const item = list.appendChild(document.createElement("li"));
      const input = field && $(field);
      if (!input) {
        item.textContent = message;
        continue;
      }
      const link = item.appendChild(document.createElement("a"));
      link.href = `#${field}`;
      link.textContent = message;
      input.setAttribute("aria-invalid", "true");
      $(`${field}-problem`).textContent = message;
      $(`${field}-problem`).hidden = false;
      input.closest("details")?.setAttribute("open", "");
    }
    $("problems").hidden = false;
    document.title = `Error: ${document.title}`;
    const first = problems.map(({ field }) => field && $(field)).find(Boolean);
    (first ?? $("problems")).focus();
  }

  function clearProblems() {
    $("problems").hidden = true;
    $("problems").querySelector("ul").replaceChildren();
    document.title = document.title.replace(/^Error: /, "");
    for (const input of document.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
    for (const problem of document.querySelectorAll(".problem")) {
      problem.textContent = "";
      problem.hidden = true;
    }
  }

  // offerPIN fills in the PIN from the text where the browser can (WebOTP). The
  // customer presses the button.
  function offerPIN() {
    if (!pin || !("OTPCredential" in window)) return;
    const given = new AbortController();
    form.addEventListener("submit", () => given.abort());
    navigator.credentials
      .get({ otp: { transport: ["sms"] }, signal: given.signal })
      .then((text) => (pin.value = text.code))
      .catch(() => {}); // declined, or too late: it can still be typed
  }
}
